//go:build tools

// Package tools names the programs that the cluster tests run a Kubernetes API server with, so that `go mod tidy`
// keeps what they need. `build` builds them.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
