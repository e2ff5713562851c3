// Package gatewaytest gives tests of protocols a gateway on a free port, a
// producer that decides when they say so, and agents that they name. It is
// imported by tests only.
package gatewaytest
