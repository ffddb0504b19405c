package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	pb "sigs.k8s.io/gateway-api/conformance/echo-basic/grpcechoserver"
)

// limit of one question.
const limit = 10 * time.Second

type question struct {
	url     string
	method  string
	headers [][2]string
	count   int
}

func parse(arguments []string) (question, error) {
	asked := question{method: "GET", count: 1}
	for i := 0; i < len(arguments); i++ {
		name, value, _ := strings.Cut(arguments[i], "=")
		switch name {
		case "--method":
			asked.method = value
		case "--count":
			count, err := strconv.Atoi(value)
			if err != nil {
				return asked, err
			}
			asked.count = count
		case "-H":
			i++
			if i == len(arguments) {
				return asked, fmt.Errorf("-H needs a value")
			}
			name, value, _ := strings.Cut(arguments[i], ":")
			asked.headers = append(asked.headers, [2]string{name, value})
		default:
			if strings.HasPrefix(name, "-") {
				return asked, fmt.Errorf("unknown flag %s", name)
			}
			asked.url = arguments[i]
		}
	}
	return asked, nil
}

// ask prints each answer, with an empty line after it, and returns 1 when one was none.
func ask(arguments []string) int {
	asked, err := parse(arguments)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	code := 0
	client := &http.Client{
		Timeout:       limit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		// Each request on a connection of its own, as if it were a client of its own.
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	for number := range asked.count {
		var text string
		if strings.HasPrefix(asked.url, "grpc://") {
			text, err = askGRPC(asked)
		} else {
			text, err = askHTTP(client, asked)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "[%d] Error %v\n", number, err)
			code = 1
			continue
		}
		for line := range strings.Lines(text) {
			fmt.Printf("[%d] %s", number, line)
		}
		fmt.Println()
	}
	return code
}

func askHTTP(client *http.Client, asked question) (string, error) {
	request, err := http.NewRequest(asked.method, asked.url, nil)
	if err != nil {
		return "", err
	}
	for _, header := range asked.headers {
		if strings.EqualFold(header[0], "host") {
			request.Host = header[1]
			continue
		}
		request.Header.Add(header[0], header[1])
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "Url=%s\nStatusCode=%d\n", asked.url, answer.StatusCode)
	names := make([]string, 0, len(answer.Header))
	for name := range answer.Header {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range answer.Header[name] {
			fmt.Fprintf(&text, "ResponseHeader=%s:%s\n", name, value)
		}
	}
	for line := range strings.Lines(string(body)) {
		if strings.TrimSpace(line) != "" {
			fmt.Fprintf(&text, "body] %s", strings.TrimRight(line, "\n")+"\n")
		}
	}
	return text.String(), nil
}

func askGRPC(asked question) (string, error) {
	target, err := url.Parse(asked.url)
	if err != nil {
		return "", err
	}
	connection, err := grpc.NewClient("passthrough:///"+target.Host, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for _, header := range asked.headers {
		ctx = metadata.AppendToOutgoingContext(ctx, header[0], header[1])
	}
	answer, err := pb.NewGrpcEchoClient(connection).Echo(ctx, &pb.EchoRequest{})
	if err != nil {
		return "", fmt.Errorf("grpc status %s: %w", status.Code(err), err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "Url=%s\nStatusCode=200\nbody] Hostname=%s\n", asked.url, answer.GetAssertions().GetContext().GetPod())
	for _, header := range answer.GetAssertions().GetHeaders() {
		fmt.Fprintf(&text, "body] RequestHeader=%s:%s\n", header.GetKey(), header.GetValue())
	}
	return text.String(), nil
}
