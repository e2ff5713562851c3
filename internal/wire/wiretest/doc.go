// Package wiretest makes the same frame in both encodings, for tests that hold
// one to the other. It is imported by tests only.
package wiretest
