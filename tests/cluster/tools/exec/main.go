// Command exec runs commands in containers of the tests' kubelet, over the streams that the API server opens to a kubelet
// (SPDY or WebSocket). It listens on loopback of the cluster's network; the kubelet hands requests on to it, with a header
// that says how to get into the container.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// Entry is what the kubelet says of a container.
type Entry struct {
	// Words before those of the command.
	Words []string `json:"words"`
	// Variables as NAME=VALUE.
	Variables []string `json:"variables"`
}

func (entry Entry) ExecInContainer(ctx context.Context, _, _, _ string, command []string, in io.Reader, out, err io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	words := append(append([]string{}, entry.Words...), command...)
	run := exec.CommandContext(ctx, words[0], words[1:]...)
	run.Env = entry.Variables
	if in != nil {
		run.Stdin = in
	}
	if out != nil {
		run.Stdout = out
	}
	if err != nil {
		run.Stderr = err
	}
	failed := run.Run()
	var exit *exec.ExitError
	if errors.As(failed, &exit) && exit.Exited() {
		return utilexec.CodeExitError{Err: failed, Code: exit.ExitCode()}
	}
	return failed
}

func serve(w http.ResponseWriter, request *http.Request) {
	var entry Entry
	if err := json.Unmarshal([]byte(request.Header.Get("X-Sluice-Exec")), &entry); err != nil || len(entry.Words) == 0 {
		http.Error(w, "no container", http.StatusBadRequest)
		return
	}
	options, err := remotecommand.NewOptions(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	command := request.URL.Query()["command"]
	remotecommand.ServeExec(w, request, entry, "", "", "", command, options, time.Hour, 30*time.Second, remotecommand.SupportedStreamingProtocols)
}

func main() {
	log.Fatal(http.ListenAndServe(os.Args[1], http.HandlerFunc(serve)))
}
