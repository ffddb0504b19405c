// Package conformance runs the official Gateway API conformance suite against the cluster that `run` makes.
package conformance

import (
	"context"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/gateway-api/conformance"
)

func TestConformance(t *testing.T) {
	if os.Getenv("MESH_ALONE") != "" {
		populate(t, "gateway-conformance-app-backend", "gateway-conformance-web-backend")
	}
	conformance.RunConformance(t)
}

// populate makes namespaces with a pod in each: release 1.6.1 waits for pods of the gateways' backends also when only the
// features of a mesh are tested, and then makes none.
func populate(t *testing.T, names ...string) {
	cluster := kubernetes.NewForConfigOrDie(config.GetConfigOrDie())
	for _, name := range names {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := cluster.CoreV1().Namespaces().Create(context.Background(), namespace, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		no := false
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "present"},
			Spec: corev1.PodSpec{
				// The namespace's account may not be there yet.
				AutomountServiceAccountToken: &no,
				Containers:                   []corev1.Container{{Name: "present", Image: "echo-basic"}},
			},
		}
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
		// Made by whoever comes first.
		_, _ = cluster.CoreV1().ServiceAccounts(name).Create(context.Background(), account, metav1.CreateOptions{})
		if _, err := cluster.CoreV1().Pods(name).Create(context.Background(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}
