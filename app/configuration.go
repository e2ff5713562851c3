package app

import (
	"fmt"

	"github.com/spf13/cobra"

	"sluice/config"
)

// configCommand looks at the configuration; none of its commands needs a network.
func (c *command) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and show the configuration",
		Args:  c.noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var effective bool
	print := &cobra.Command{
		Use:     "print",
		Short:   "Print every setting as it is in force, secrets masked",
		Example: `  sluice config print --effective`,
		Args:    c.noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withConfig(cmd, func(l *config.Loader) error { return l.Print(c.std.Out, effective) })
		},
	}
	print.Flags().BoolVar(&effective, "effective", false, "say where each value comes from")
	cmd.AddCommand(print, &cobra.Command{
		Use:     "validate",
		Short:   "Check the configuration and report everything that is wrong with it",
		Example: `  sluice config validate --config /etc/sluice/sluice.yaml`,
		Args:    c.noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			src := c.sources(cmd)
			s, _, err := load(src, c.plugins, role{})
			if err != nil {
				return err
			}
			for _, w := range s.warnings {
				fmt.Fprintf(c.std.Err, "warning: %s\n", w)
			}
			where := src.File
			if where == "" {
				where = "the defaults (no file was found)"
			}
			fmt.Fprintf(c.std.Err, "configuration is valid: %s\n", where)
			return nil
		},
	}, &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the configuration file, for editors",
		Example: `  sluice config schema > sluice.schema.json`,
		Args:    c.noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, l, _ := load(config.Sources{}, c.plugins, role{})
			b, err := l.Schema()
			if err == nil {
				_, err = c.std.Out.Write(append(b, '\n'))
			}
			return err
		},
	}, &cobra.Command{
		Use:     "env",
		Short:   "List the environment variables that set something",
		Example: `  sluice config env | grep KAFKA`,
		Args:    c.noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withConfig(cmd, func(l *config.Loader) error { return l.Env(c.std.Out) })
		},
	})
	return cmd
}

func (c *command) withConfig(cmd *cobra.Command, do func(*config.Loader) error) error {
	_, l, err := load(c.sources(cmd), c.plugins, role{})
	if err != nil {
		return err
	}
	return do(l)
}
