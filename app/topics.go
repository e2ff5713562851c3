package app

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// topicsCommand makes topics ahead of the roles, which then need no right to.
func (c *command) topicsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topics",
		Short: "Make the topics",
		Args:  c.noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "create",
		Short: "Make the topics that are absent, as kafka.topics says, and report what differs in the others",
		Long: `Wait for Kafka, make the topics that are absent, and report what differs in those
that stand, which are never altered. Every role does the same at its start unless
kafka.topics.create is false: with that and this command, the roles need no right
to create topics.`,
		Example: `  sluice topics create --brokers kafka-1:9092`,
		Args:    c.noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := c.process(cmd, role{})
			if err != nil {
				return err
			}
			p.kafka.Topics.Create = true
			if err := p.prepare(cmd.Context()); err != nil {
				return err
			}
			fmt.Fprintf(c.std.Err, "topics are there: sluice's own and those of %s\n", strings.Join(p.types.Names(), ", "))
			return nil
		},
	})
	return cmd
}
