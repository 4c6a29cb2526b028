//go:build tools

// Names what is built from this module beside kubelab itself, so that `go mod tidy` keeps what it needs.
package main

import _ "k8s.io/kubernetes/cmd/kubectl"
