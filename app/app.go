package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sluice/config"
)

// The exit codes of every command.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitConfig      = 78 // EX_CONFIG of sysexits.h
	exitInterrupted = 130
)

// Main runs the command that the process was started with and returns its exit
// code. The first SIGINT or SIGTERM ends it in order, the second at once.
func Main(plugins Plugins) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, plugins, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Environ())
	}()
	stopped := false
	for {
		select {
		case c := <-code:
			return c
		case <-signals:
			if stopped {
				return exitInterrupted
			}
			stopped = true
			cancel()
		}
	}
}

// Streams are what a command reads and writes: Out is data, Err is for people.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run runs one command line until it is done or the context ends, and returns
// its exit code.
func Run(ctx context.Context, plugins Plugins, args []string, std Streams, environ []string) int {
	c := &command{plugins: plugins, std: std, environ: environ}
	root := c.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	c.report(err)
	return exitCode(err)
}

// usageError is a command line that cannot be.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func exitCode(err error) int {
	var (
		usage  *usageError
		cfg    *config.Error
		schema *schemaError
	)
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &cfg), errors.As(err, &schema):
		return exitConfig
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFailed
}

// report says an error, a line for each problem.
func (c *command) report(err error) {
	if _, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintf(c.std.Err, "sluice: %v\n", err)
		return
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(c.std.Err, "sluice: interrupted")
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(c.std.Err, "sluice: %s\n", line)
	}
}

// command is one command line.
type command struct {
	plugins Plugins
	std     Streams
	environ []string

	file string
	// paths are the settings that flags stand for.
	paths map[string]string
}

// getenv looks in the environment that the command was given.
func (c *command) getenv(key string) string {
	for _, v := range slices.Backward(c.environ) {
		if v, ok := strings.CutPrefix(v, key+"="); ok {
			return v
		}
	}
	return ""
}

// setting adds a flag that stands for a setting.
func (c *command) setting(fs *pflag.FlagSet, flag, path, usage string) {
	fs.String(flag, "", usage+" (setting "+path+")")
	c.paths[flag] = path
}

// sources gathers what the configuration is made of.
func (c *command) sources(cmd *cobra.Command) config.Sources {
	src := config.Sources{File: config.Find(c.file, c.environ, config.Exists), Environ: c.environ, Flags: map[string]string{}}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if path, ok := c.paths[f.Name]; ok {
			src.Flags[path] = f.Value.String()
		}
	})
	return src
}

// process reads the configuration and returns what a serving command works with.
func (c *command) process(cmd *cobra.Command, r role) (*process, error) {
	s, _, err := load(c.sources(cmd), c.plugins, r)
	if err != nil {
		return nil, err
	}
	log := s.log.New(c.std.Err, c.getenv)
	p := newProcess(s, c.plugins, log, c.std.Out)
	p.trace(cmd.Context(), c.getenv)
	return p, nil
}

// quietProcess is process for commands that are done in a moment and whose log is
// of no interest unless something is wrong.
func (c *command) quietProcess(cmd *cobra.Command) (*process, error) {
	s, _, err := load(c.sources(cmd), c.plugins, role{})
	if err != nil {
		return nil, err
	}
	log := s.log.New(c.std.Err, c.getenv)
	if s.log.Level == "info" {
		log = slog.New(warnOnly{log.Handler()})
	}
	return newProcess(s, c.plugins, log, c.std.Out), nil
}

// warnOnly leaves out what is less than a warning.
type warnOnly struct{ slog.Handler }

func (warnOnly) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// version returns what was built: the module's version, and the commit if the
// build knows one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value[:min(len(s.Value), 12)]
		}
	}
	return v
}
