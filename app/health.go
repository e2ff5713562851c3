package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// healthTimeout bounds a check: two seconds for each part is what the admin
// address itself allows.
const healthTimeout = 5 * time.Second

// healthCommand asks the process on this machine how it is: for a HEALTHCHECK in
// an image that has no shell.
func (c *command) healthCommand() *cobra.Command {
	var live bool
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the sluice on this machine whether it is ready; exit code 0 or 1",
		Example: `  sluice healthcheck
  sluice healthcheck --live --admin-listen 127.0.0.1:8081`,
		Args: c.noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, _, err := load(c.sources(cmd), c.plugins, role{})
			if err != nil {
				return err
			}
			if s.admin.Listen == "" {
				return errors.New("no admin address to ask: set admin.listen")
			}
			path := "/readyz"
			if live {
				path = "/livez"
			}
			answer, err := ask(cmd.Context(), "http://"+reachable(s.admin.Listen)+path)
			if err == nil {
				fmt.Fprintln(c.std.Out, answer)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&live, "live", false, "ask whether the process runs, not whether it can do its work")
	return cmd
}

// ask returns what a URL answers with 200, else an error that holds the answer.
func ask(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", url, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("nobody answers at the admin address: check that sluice runs here and admin.listen: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return "", fmt.Errorf("read answer of %s: %w", url, err)
	}
	answer := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("not ready: %s", strings.ReplaceAll(answer, "\n", "; "))
	}
	return answer, nil
}
