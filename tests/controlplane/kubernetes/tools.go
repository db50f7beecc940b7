//go:build tools

// Package tools pins the Kubernetes binaries that the real end-to-end suite runs, and kwok, which is built from the same
// libraries: its own versions of them would be compiled a second time, for minutes.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "sigs.k8s.io/kwok/cmd/kwok"
)
