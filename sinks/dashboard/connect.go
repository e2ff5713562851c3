package dashboard

import (
	"net"
	"net/url"
	"strings"
)

// gatewayPort is where a gateway listens by default.
const gatewayPort = "3000"

// connectLines is what to type to connect an agent. It holds no secret.
type connectLines struct {
	Gateway string // http://host:port
	Agent   string // our own agent
	Post    string // one message by hand
	Stream  string // the address of the websocket protocol
}

// newConnectLines returns the lines for the gateway at gatewayURL or, where that
// is empty, on the host that the page was asked for by.
func newConnectLines(gatewayURL, host string) connectLines {
	if gatewayURL == "" {
		name, _, err := net.SplitHostPort(host)
		if err != nil {
			name = strings.Trim(host, "[]")
		}
		// The name ends in lines that people paste into a shell.
		if !validHost(name) {
			name = "127.0.0.1"
		}
		gatewayURL = "http://" + net.JoinHostPort(name, gatewayPort)
	}
	gatewayURL = strings.TrimSuffix(gatewayURL, "/")
	ws := gatewayURL
	if u, err := url.Parse(gatewayURL); err == nil {
		u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
		ws = u.String()
	}
	return connectLines{
		Gateway: gatewayURL,
		Agent:   "export SLUICE_AGENT__URL=" + ws + "\nexport SLUICE_AGENT__TOKEN=TOKEN\nsluice agent",
		Post: "curl " + gatewayURL + "/data \\\n" +
			"  -H 'Authorization: Bearer TOKEN' \\\n" +
			"  -H 'Content-Type: application/json' \\\n" +
			`  -d '{"id": "NAME", "type": "system_metrics", "data": {"type": "load",` + "\n" +
			`       "body": {"load1": 0.42, "load5": 0.36, "load15": 0.30}}}'`,
		Stream: ws + "/v1/stream",
	}
}
