package agent_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"time"

	"sluice/agent"
)

// Send metrics of your own and wait until they are durable.
func Example() {
	url, stop := exampleGateway()
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := agent.New(agent.Config{URL: url, Token: token}, agent.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	go client.Run(ctx)
	err = client.Send(ctx, agent.Message{
		Type: "system_metrics", Kind: "load",
		Body: map[string]any{"load1": 0.4, "load5": 0.3, "load15": 0.2},
	})
	fmt.Println(err, client.Flush(ctx), client.Acked())
	// Output: <nil> <nil> 1
}

// exampleGateway starts a gateway that acknowledges everything.
func exampleGateway() (url string, stop func()) {
	g := &fakeGateway{serve: func(c *fakeConn) {
		c.welcome("a1", 256<<10, 8)
		_ = c.ackAll(nil)
	}}
	srv := httptest.NewServer(g)
	return "ws" + strings.TrimPrefix(srv.URL, "http"), func() { srv.Close(); g.open.Wait() }
}
