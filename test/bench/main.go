package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(os.Stdin, os.Stdout).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// partCommand is the command of a part's process.
const partCommand = "part"

var cases = []struct {
	name string
	run  func(*bench, context.Context) error
}{
	{"normalizer", (*bench).normalizer},
	{"end-to-end", (*bench).whole},
	{"gateway", (*bench).gateway},
}

func command(in io.Reader, out io.Writer) *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:   "bench [gateway|normalizer|end-to-end|all]",
		Short: "measure what a frame costs, beside what it costs the bare libraries",
		Long: `Measures frames a second and processor seconds per million frames of the
gateway, the normalizer and both together, each in a process of its own, beside
bare libraries in the same run. Without an argument it measures all.`,
		Args:          cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs:     []string{"gateway", "normalizer", "end-to-end", "all"},
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			which := "all"
			if len(args) > 0 {
				which = args[0]
			}
			return measure(cmd.Context(), &bench{
				o: o, out: os.Stderr,
				log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
			}, which, out)
		},
	}
	f := root.Flags()
	f.IntVar(&o.runs, "runs", 3, "how often each case is measured; the table has medians")
	f.Float64Var(&o.seconds, "seconds", 5, "how long a load on the gateway is measured, a second of warming up not counted")
	f.Int64Var(&o.frames, "frames", 1_000_000, "frames of a backlog, and of a way end to end")
	f.IntSliceVar(&o.conns, "conns", []int{100, 1000}, "numbers of connections")
	f.IntVar(&o.window, "window", 0, "most frames unacknowledged of a connection in a flood; 0 for 256 with up to 250 connections, else 32")
	f.IntVar(&o.burst, "burst", 0, "frames in a write of a flood; 0 for 64 with up to 250 connections, else 8")
	f.IntVar(&o.pace, "pace", 20_000, "frames a second of the paced load, one in a write, over the most connections")
	f.StringSliceVar(&o.brokers, "brokers", nil, "addresses of a Kafka that has no topics of sluice; without it, an embedded broker for each run")
	f.StringVar(&o.profile, "profile", "", "directory to write processor profiles of the parts to; they cost some percent themselves")
	f.StringVar(&o.dir, "dir", "", "directory for the embedded broker's data, removed after; by default the system's for temporary files")

	root.AddCommand(&cobra.Command{
		Use: partCommand + " NAME", Hidden: true, Args: cobra.ExactArgs(1),
		// The one that started it ends it, by closing its input.
		RunE: func(_ *cobra.Command, args []string) error {
			signal.Ignore(os.Interrupt)
			return runPart(args[0], in, out)
		},
	})
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

// measure runs cases and writes what was found, also when one of them failed.
func measure(ctx context.Context, b *bench, which string, out io.Writer) (err error) {
	defer func() {
		if b.own != nil {
			err = errors.Join(err, b.own.close())
		}
	}()
	if err := b.header(out); err != nil {
		return err
	}
	for _, c := range cases {
		if which != "all" && which != c.name {
			continue
		}
		if err = c.run(b, ctx); err != nil {
			break
		}
	}
	return errors.Join(err, b.table.write(out), b.footer(out))
}
