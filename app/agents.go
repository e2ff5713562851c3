package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sluice/gateway"
)

func (c *command) agentsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agents",
		Short: "Say who may report",
		Args:  c.noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.addAgentCommand(), &cobra.Command{
		Use:     "list",
		Short:   "List the agents that may report",
		Example: `  sluice agents list`,
		Args:    c.noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withRegistry(cmd, func(ctx context.Context, r *gateway.Registry) error {
				agents, err := r.List(ctx)
				if err != nil {
					return err
				}
				if len(agents) == 0 {
					fmt.Fprintln(c.std.Err, "no agents yet: sluice agents add NAME makes one")
					return nil
				}
				tw := tabwriter.NewWriter(c.std.Out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(tw, "NAME\tTOKENS\tCREATED")
				for _, a := range agents {
					fmt.Fprintf(tw, "%s\t%d\t%s\n", a.Name, len(a.Tokens), a.Created.UTC().Format(time.RFC3339))
				}
				return tw.Flush()
			})
		},
	}, &cobra.Command{
		Use:     "remove NAME",
		Short:   "Take an agent out; gateways end its connections",
		Example: `  sluice agents remove my-node`,
		Args:    c.args(1, 1, "the name of the agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withRegistry(cmd, func(ctx context.Context, r *gateway.Registry) error { return r.Remove(ctx, args[0]) })
		},
	})
	return cmd
}

func (c *command) addAgentCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make an agent and print its token, which is shown this once",
		Long: `Make an agent and print its token, which is shown this once. With --token-file the
token goes into that file; one that stands there already becomes the agent's
only token, so that the command can be repeated.`,
		Example: `  sluice agents add my-node --brokers kafka-1:9092
  sluice agents add my-node --token-file /run/sluice/token`,
		Args: c.args(1, 1, "the name of the agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withRegistry(cmd, func(ctx context.Context, r *gateway.Registry) error {
				if file != "" {
					token, err := keptToken(file)
					if err != nil {
						return err
					}
					return r.Put(ctx, args[0], token)
				}
				token, err := r.Add(ctx, args[0])
				if err != nil {
					return err
				}
				fmt.Fprintln(c.std.Out, token)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&file, "token-file", "", "write the token to this file, or take the one that stands there")
	return cmd
}

// keptToken returns the token that stands in a file, or puts one there.
func keptToken(path string) (string, error) {
	switch b, err := os.ReadFile(path); {
	case err == nil:
		return strings.TrimSpace(string(b)), nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("read token: %w", err)
	}
	token, err := gateway.NewToken(rand.Reader)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("make directory of token: %w", err)
	}
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep token: %w", err)
	}
	return token, nil
}

// registryTimeout bounds a change of the agents where no broker answers.
const registryTimeout = 20 * time.Second

func (c *command) withRegistry(cmd *cobra.Command, do func(context.Context, *gateway.Registry) error) error {
	p, err := c.quietProcess(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), registryTimeout,
		fmt.Errorf("no broker at %s answered within %s: check that Kafka runs there, or say where with --brokers", strings.Join(p.kafka.Brokers, ", "), registryTimeout))
	defer cancel()
	// What differs in the topics is for those to report who read and write them.
	_, err = p.topics(ctx)
	if err == nil {
		var r *gateway.Registry
		var done func()
		if r, done, err = p.registry(); err == nil {
			defer done()
			err = do(ctx, r)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}
