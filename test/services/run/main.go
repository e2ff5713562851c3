// Run starts real services once, runs a command with their addresses in its
// environment, stops them and exits with the command's code:
//
//	go run ./test/services/run [--only kafka,dynamodb] -- go test ./...
//
// What cannot be started is said and left out, so that tests skip what needs it;
// with CI set nothing is run then. It is a command of its own since package services
// is imported by tests. (`go run` itself turns every code but 0 into 1.)
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"sluice/test/services"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	only := flags.String("only", strings.Join(services.All, ","), "services to start")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: go run ./test/services/run [--only kafka,dynamodb,registry] -- COMMAND ARGS…")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() == 0 {
		flags.Usage()
		return 2
	}
	// Ctrl-C goes to the command too, which is in the same group of processes; its
	// end is waited for. A signal to this process alone is passed on.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	began := time.Now()
	running, err := services.Start(strings.Split(*only, ",")...)
	if running != nil {
		defer running.Stop()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "services: %v\n", err)
		if running == nil || os.Getenv("CI") != "" {
			return 1
		}
	}
	fmt.Fprintf(os.Stderr, "services: ready after %.1f s\n", time.Since(began).Seconds())

	select {
	case <-signals:
		return 130
	default:
	}
	command := exec.Command(flags.Arg(0), flags.Args()[1:]...)
	command.Env = append(os.Environ(), running.Environment...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := command.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "services: %v\n", err)
		return 127
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				_ = command.Process.Signal(s) // it may have ended by itself
			case <-ended:
				return
			}
		}
	}()
	err = command.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()) // as a shell says it
		}
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "services: %v\n", err)
		return 1
	}
	return 0
}
