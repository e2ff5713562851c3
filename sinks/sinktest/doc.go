// Package sinktest holds the tests of the contract of sinks.Sink: what every
// sink that keeps messages by ID must do, whoever wrote it.
//
//	func TestContract(t *testing.T) {
//		sinktest.Run(t, func(t *testing.T) sinktest.Harness {
//			dir := t.TempDir()
//			return sinktest.Harness{
//				New:  func() sinks.Sink { return mysink.New(dir) },
//				Read: func() []sinktest.Item { return readAll(t, dir) },
//			}
//		})
//	}
//
// It checks what can be seen from outside: that what Write accepted is there,
// once, and stays, in whatever order and however often it came. It cannot check
// that what is there outlives the loss of power, nor what several instances of a
// sink do to one another: a sink tests that itself.
package sinktest
