#!/bin/sh
# Writes go.mod and go.sum anew for a version of Kubernetes: update.sh KUBERNETES ETCD   (for example 1.36.3 v3.6.8)
# kube-router, the enforcer of NetworkPolicies, comes from k3s' fork, which the Go module proxy has.
# k8s.io/kubernetes replaces its staging modules by folders that its module zip does not hold: their published versions stand in.
set -eu
kubernetes=${1:?version of Kubernetes, without v} etcd=${2:?version of etcd, with v} router=v2.2.1 dns=v1.14.2
cd "$(dirname "$0")"
manifest=$(go mod download -json "k8s.io/kubernetes@v$kubernetes" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
{
  printf 'module kubelab\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/kubernetes v%s\n\tgo.etcd.io/etcd/server/v3 %s\n' "$kubernetes" "$etcd"
  printf '\tgithub.com/cloudnativelabs/kube-router/v2 %s\n\tgithub.com/coredns/coredns %s\n)\n\nreplace (\n' "$router" "$dns"
  printf '\tgithub.com/cloudnativelabs/kube-router/v2 => github.com/k3s-io/kube-router/v2 %s\n' "$router"
  sed -nE "s#^[[:space:]]*([^[:space:]]+) => \./staging.*#\t\1 => \1 v0.${kubernetes#1.}#p" "$manifest"
  echo ')'
} > go.mod
rm -f go.sum
go mod tidy
