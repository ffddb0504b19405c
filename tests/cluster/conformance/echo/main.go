// Command echo stands in for echo-advanced, the backend and client of the official MESH conformance tests: a server of
// HTTP, HTTPS, gRPC and TCP, and under the name client a program that asks once or often and prints what it was told, in
// the form that the suite reads (sigs.k8s.io/gateway-api/conformance/utils/echo/parse.go).
package main

import (
	"os"
	"path/filepath"
)

func main() {
	if filepath.Base(os.Args[0]) == "client" {
		os.Exit(ask(os.Args[1:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "client" {
		os.Exit(ask(os.Args[2:]))
	}
	serve(os.Args[1:])
}
