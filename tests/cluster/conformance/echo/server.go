package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	pb "sigs.k8s.io/gateway-api/conformance/echo-basic/grpcechoserver"
)

// hostname is the pod's name: all pods of the tests share the machine's.
func hostname() string {
	if name := os.Getenv("HOSTNAME"); name != "" {
		return name
	}
	name, _ := os.Hostname()
	return name
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"echo"}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serve understands the flags of the suite's manifests: --port (8080 when there is none), --tls (of these ports), --grpc,
// --tcp.
func serve(arguments []string) {
	plain, secure := map[string]bool{}, map[string]bool{}
	for _, argument := range arguments {
		name, value, _ := strings.Cut(argument, "=")
		switch name {
		case "--port":
			plain[value] = true
		case "--tls":
			secure[value] = true
		case "--grpc":
			go serveGRPC(value)
		case "--tcp":
			go serveTCP(value)
		}
	}
	if len(plain) == 0 {
		plain["8080"] = true
	}
	for port := range plain {
		go serveHTTP(port, secure[port])
	}
	select {}
}

func listen(port string) net.Listener {
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func serveHTTP(port string, secure bool) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, told(port, request))
	})}
	listener := listen(port)
	if secure {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate()}}
		log.Fatal(server.ServeTLS(listener, "", ""))
	}
	log.Fatal(server.Serve(listener))
}

func told(port string, request *http.Request) string {
	var text strings.Builder
	address, _, _ := net.SplitHostPort(request.RemoteAddr)
	for _, field := range [][2]string{
		{"ServiceVersion", ""}, {"ServicePort", port}, {"Host", request.Host}, {"URL", request.URL.RequestURI()},
		{"Method", request.Method}, {"Proto", request.Proto}, {"IP", address},
	} {
		fmt.Fprintf(&text, "%s=%s\n", field[0], field[1])
	}
	names := make([]string, 0, len(request.Header))
	for name := range request.Header {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range request.Header[name] {
			fmt.Fprintf(&text, "RequestHeader=%s:%s\n", name, value)
		}
	}
	fmt.Fprintf(&text, "Hostname=%s\n", hostname())
	return text.String()
}

type grpcServer struct {
	pb.UnimplementedGrpcEchoServer
	port string
}

func (server *grpcServer) Echo(ctx context.Context, _ *pb.EchoRequest) (*pb.EchoResponse, error) {
	assertions := &pb.Assertions{FullyQualifiedMethod: "/gateway_api_conformance.echo_basic.grpcecho.GrpcEcho/Echo"}
	received, _ := metadata.FromIncomingContext(ctx)
	for name, values := range received {
		for _, value := range values {
			assertions.Headers = append(assertions.Headers, &pb.Header{Key: name, Value: value})
		}
	}
	if from, known := peer.FromContext(ctx); known {
		assertions.Headers = append(assertions.Headers, &pb.Header{Key: "x-peer", Value: from.Addr.String()})
	}
	assertions.Context = &pb.Context{Pod: hostname()}
	return &pb.EchoResponse{Assertions: assertions}, nil
}

func serveGRPC(port string) {
	server := grpc.NewServer()
	pb.RegisterGrpcEchoServer(server, &grpcServer{port: port})
	log.Fatal(server.Serve(listen(port)))
}

func serveTCP(port string) {
	listener := listen(port)
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer connection.Close()
			line, _ := bufio.NewReader(connection).ReadString('\n')
			fmt.Fprintf(connection, "StatusCode=200\nHostname=%s\nProto=TCP\n%s", hostname(), line)
		}()
	}
}
