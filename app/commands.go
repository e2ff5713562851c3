package app

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// root returns the command tree.
func (c *command) root() *cobra.Command {
	c.paths = map[string]string{}
	root := &cobra.Command{
		Use:   "sluice",
		Short: "Gather metrics from a fleet of agents into Kafka, and from there into any number of sinks",
		Long: `Sluice gathers metrics from a fleet of agents, keeps every raw frame in Kafka,
turns the frames into checked records by data type, and feeds those to sinks.`,
		Example: `  sluice up                          everything in one process, on an embedded broker
  sluice agents add my-node          make an agent and print its token
  sluice config validate             check the configuration`,
		SilenceErrors: true, SilenceUsage: true, SuggestionsMinimumDistance: 2,
		Args: c.noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(c.std.In)
	root.SetOut(c.std.Out)
	root.SetErr(c.std.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	fs := root.PersistentFlags()
	fs.StringVar(&c.file, "config", "", "configuration file; else SLUICE_CONFIG, ./sluice.yaml or /etc/sluice/sluice.yaml")
	c.setting(fs, "brokers", "kafka.brokers", "addresses of the Kafka brokers, with commas")
	c.setting(fs, "admin-listen", "admin.listen", "address of health and metrics")
	c.setting(fs, "log-level", "log.level", "debug, info, warn or error")
	c.setting(fs, "log-format", "log.format", "auto, json or text")
	root.AddCommand(c.upCommand(), c.gatewayCommand(), c.normalizerCommand(), c.sinkCommand(), c.agentCommand(),
		c.agentsCommand(), c.topicsCommand(), c.configCommand(), c.healthCommand(), c.versionCommand())
	return root
}

// noArgs refuses arguments, with a guess where the first may be a command.
func (c *command) noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		hint = " (did you mean " + s[0] + "?)"
	}
	return &usageError{fmt.Errorf("unknown argument %q for %s%s; see %s --help", args[0], cmd.CommandPath(), hint, cmd.CommandPath())}
}

// args checks the number of arguments and says what they are.
func (c *command) args(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return &usageError{fmt.Errorf("%s wants %s, got %d; see %s --help", cmd.CommandPath(), what, len(args), cmd.CommandPath())}
		}
		return nil
	}
}

func (c *command) upCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run everything in one process",
		Long: `Run every stage in this process, with an agent that reports this machine, on an
embedded broker that speaks Kafka's protocol; with --brokers on a Kafka elsewhere.`,
		Example: `  sluice up
  sluice up --data /var/lib/sluice
  sluice up --brokers kafka-1:9092,kafka-2:9092`,
		Args: c.noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := c.process(cmd, role{up: true})
			if err != nil {
				return err
			}
			return p.up(cmd.Context(), program(os.Args[0]))
		},
	}
	fs := cmd.Flags()
	c.setting(fs, "data", "up.data", "directory of all data")
	c.setting(fs, "broker-listen", "up.broker", "address of the embedded broker")
	c.setting(fs, "gateway-listen", "gateway.listen", "address that agents connect to")
	c.setting(fs, "dashboard-listen", "sinks.dashboard.listen", "address of the page")
	fs.Bool("agent", true, "report this machine's own metrics (setting up.agent)")
	c.paths["agent"] = "up.agent"
	return cmd
}

// program returns what to type to start this program again.
func program(arg0 string) string {
	if strings.Contains(filepath.ToSlash(arg0), "/go-build") {
		return "go run ."
	}
	if runtime.GOOS != "windows" && filepath.IsAbs(arg0) || strings.ContainsRune(arg0, filepath.Separator) {
		return arg0
	}
	return filepath.Base(arg0)
}

// roleCommand runs stages against a Kafka elsewhere.
func (c *command) roleCommand(cmd *cobra.Command, r role, stages func(*process) ([]part, error)) error {
	p, err := c.process(cmd, r)
	if err != nil {
		return err
	}
	return p.observed(cmd.Context(), func(ctx context.Context) error {
		if err := p.prepare(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		parts, err := stages(p)
		if err != nil {
			return err
		}
		return p.serve(ctx, parts)
	})
}

func (c *command) gatewayCommand() *cobra.Command {
	var protocols []string
	known := slices.Sorted(maps.Keys(c.plugins.Protocols))
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Take frames from agents and write them to the ingest topic",
		Example: `  sluice gateway --brokers kafka-1:9092
  sluice gateway --protocol websocket`,
		Args: c.noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range protocols {
				if !slices.Contains(known, name) {
					return &usageError{fmt.Errorf("no protocol is called %q%s; there are %s", name, suggest(name, known), strings.Join(known, ", "))}
				}
			}
			return c.roleCommand(cmd, role{}, func(p *process) ([]part, error) {
				g, err := p.gatewayStage(protocols)
				return []part{g}, err
			})
		},
	}
	cmd.Flags().StringSliceVar(&protocols, "protocol", known, "protocols to serve")
	_ = cmd.RegisterFlagCompletionFunc("protocol", cobra.FixedCompletions(known, cobra.ShellCompDirectiveNoFileComp))
	c.setting(cmd.Flags(), "listen", "gateway.listen", "address that agents connect to")
	return cmd
}

func (c *command) normalizerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "normalizer",
		Short: "Turn raw frames into checked records, one topic per data type",
		Example: `  sluice normalizer --brokers kafka-1:9092
  sluice normalizer --slot 2`,
		Args: c.noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.roleCommand(cmd, role{}, func(p *process) ([]part, error) {
				slot, err := p.slot(os.Hostname)
				if err != nil {
					return nil, err
				}
				return []part{p.normalizerStage(slot, false)}, nil
			})
		},
	}
	c.setting(cmd.Flags(), "slot", "normalizer.slot", "name of this normalizer among those that run at once")
	return cmd
}

func (c *command) sinkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sink NAME...",
		Short: "Feed sinks from the typed topics",
		Example: `  sluice sink archive --brokers kafka-1:9092
  sluice sink dashboard archive`,
		Args:              c.args(1, 100, "the name of at least one sink"),
		ValidArgsFunction: c.completeSinks,
		RunE: func(cmd *cobra.Command, names []string) error {
			names = slices.Compact(slices.Sorted(slices.Values(names)))
			return c.roleCommand(cmd, role{sinks: names}, func(p *process) ([]part, error) { return p.sinkStages(names) })
		},
	}
}

// completeSinks completes the names of the configured sinks.
func (c *command) completeSinks(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	s, _, err := load(c.sources(cmd), c.plugins, role{})
	if s == nil || (err != nil && len(s.sinks) == 0) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(s.sinks)), cobra.ShellCompDirectiveNoFileComp
}

func (c *command) agentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Report this machine's processors, memory, disks, load and network to a gateway",
		Example: `  SLUICE_AGENT__TOKEN=tsk_... sluice agent --url ws://gateway:3000
  SLUICE_AGENT__TOKEN_FILE=/run/secrets/token sluice agent --url wss://gateway`,
		Args: c.noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := c.process(cmd, role{agent: true})
			if err != nil {
				return err
			}
			// Beside a gateway on one machine the admin address is taken, so an agent
			// has none unless it is asked for.
			if !cmd.Flags().Changed("admin-listen") && c.getenv("SLUICE_ADMIN__LISTEN") == "" {
				p.admin.Listen = ""
			}
			a, err := p.agentStage(p.agent)
			if err != nil {
				return err
			}
			return p.observed(cmd.Context(), func(ctx context.Context) error { return p.serve(ctx, []part{a}) })
		},
	}
	fs := cmd.Flags()
	c.setting(fs, "url", "agent.url", "gateway to report to, ws://host:port or wss://host:port")
	c.setting(fs, "name", "agent.name", "name that the token belongs to")
	c.setting(fs, "encoding", "agent.encoding", "json or msgpack")
	return cmd
}

func (c *command) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print what was built",
		Args:  c.noArgs,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintf(c.std.Out, "sluice %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
