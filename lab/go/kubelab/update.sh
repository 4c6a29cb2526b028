#!/bin/sh
# Writes go.mod and go.sum anew for a version of Kubernetes: update.sh KUBERNETES ETCD   (for example 1.36.3 v3.6.8)
# k8s.io/kubernetes replaces its staging modules by folders that its module zip does not hold: their published versions stand in.
set -eu
kubernetes=${1:?version of Kubernetes, without v} etcd=${2:?version of etcd, with v}
cd "$(dirname "$0")"
manifest=$(go mod download -json "k8s.io/kubernetes@v$kubernetes" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
{
  printf 'module kubelab\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/kubernetes v%s\n\tgo.etcd.io/etcd/server/v3 %s\n)\n\nreplace (\n' "$kubernetes" "$etcd"
  sed -nE "s#^[[:space:]]*([^[:space:]]+) => \./staging.*#\t\1 => \1 v0.${kubernetes#1.}#p" "$manifest"
  echo ')'
} > go.mod
rm -f go.sum
go mod tidy
