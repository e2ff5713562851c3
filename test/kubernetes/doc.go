// Package kubernetes tests the manifests of the folder kubernetes, without a
// cluster: it builds the base and every overlay as `kubectl apply -k` does,
// reads each object strictly into Kubernetes' own types and checks it against
// Kubernetes' OpenAPI schema, follows every reference from one object to another,
// and runs each of sluice's containers with its arguments, environment and
// files as far as the first connection.
//
// It does not show that a cluster schedules them, nor what its network lets
// through.
package kubernetes
