// Package process runs the built program in tests: a command that is started,
// killed, stopped, paused and started again on the same addresses, with a log
// that can be read meanwhile. It is imported by tests only.
//
//	program, err := process.Build(dir)
//	p := process.New(t, "gateway", program, process.Options{Args: …, Admin: addr})
//	p.Start()
//	p.AwaitReady()
//	p.Kill()
//
// What a test leaves running ends with it; where the system can do that, it ends
// with the test's own process too, however that ends.
package process
