// Package conformance runs the official Gateway API conformance suite against the cluster that `run` makes.
package conformance

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

func TestConformance(t *testing.T) { conformance.RunConformance(t) }
