package agent

import "time"

// SetBackoff makes the waits between connections as short as a test needs.
func (c *Client) SetBackoff(first, max time.Duration) {
	c.backoff.first, c.backoff.max = first, max
}
