// Command exec runs commands in containers of the tests' kubelet and forwards ports of its pods, over the streams that the API
// server opens to a kubelet (SPDY or WebSocket). It listens on loopback of the cluster's network; the kubelet hands requests on
// to it, with a header that says how to get into the container. As `exec dial PORT` it is the end of a forwarded port, in the
// pod's network: it carries its input to the port, and what comes from there to its output.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// Entry is what the kubelet says of a container.
type Entry struct {
	// Words before those of the command.
	Words []string `json:"words"`
	// Variables as NAME=VALUE.
	Variables []string `json:"variables"`
	// Process of the container, by which its pod's network is found.
	Process int `json:"process"`
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

func (entry Entry) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	own, err := os.Executable()
	if err != nil {
		return err
	}
	network := []string{"--net", "--target", strconv.Itoa(entry.Process), "--"}
	run := exec.CommandContext(ctx, "/usr/bin/nsenter", append(network, own, "dial", strconv.Itoa(int(port)))...)
	var said strings.Builder
	run.Stdin, run.Stdout, run.Stderr = stream, stream, &said
	// The client need not have said all when the port has.
	run.WaitDelay = time.Second
	if err := run.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return errors.New(err.Error() + ": " + said.String())
	}
	return nil
}

func dial(port string) error {
	connection, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return err
	}
	go func() {
		io.Copy(connection, os.Stdin)
		connection.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(os.Stdout, connection)
	return err
}

func serve(w http.ResponseWriter, request *http.Request) {
	var entry Entry
	if err := json.Unmarshal([]byte(request.Header.Get("X-Sluice-Exec")), &entry); err != nil || len(entry.Words) == 0 {
		http.Error(w, "no container", http.StatusBadRequest)
		return
	}
	if strings.HasPrefix(request.URL.Path, "/portForward/") {
		options, err := portforward.NewV4Options(request)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		portforward.ServePortForward(w, request, entry, "", "", options, time.Hour, 30*time.Second, portforward.SupportedProtocols)
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
	if len(os.Args) == 3 && os.Args[1] == "dial" {
		if err := dial(os.Args[2]); err != nil {
			log.Fatal(err)
		}
		return
	}
	log.Fatal(http.ListenAndServe(os.Args[1], http.HandlerFunc(serve)))
}
