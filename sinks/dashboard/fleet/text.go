package fleet

import (
	"strings"

	"sluice/message"
)

// The longest texts shown, in bytes.
const (
	maxName   = 128
	maxClient = 160
	maxHash   = 80
	maxNet    = 40
)

// text makes s, which an agent wrote, fit to be shown: no control characters,
// nothing that turns the direction of writing, at most limit bytes.
func text(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\u061c', r == '\u200e', r == '\u200f', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
			return -1
		}
		return r
	}, s)
	return message.Printable(s, limit)
}

// textOf reads a field of a body; what is no text is empty.
func textOf(v any, limit int) string {
	s, _ := v.(string)
	return text(s, limit)
}

// ShortClient returns name and version of what a client says it is: "Geth
// 1.17.10" of "Geth/v1.17.10-stable/linux-amd64/go1.26.8".
func ShortClient(s string) string {
	name, rest, _ := strings.Cut(s, "/")
	for part := range strings.SplitSeq(rest, "/") {
		v := strings.TrimPrefix(part, "v")
		if v == "" || v[0] < '0' || v[0] > '9' {
			continue
		}
		if i := strings.IndexAny(v, "-+ "); i > 0 {
			v = v[:i]
		}
		return name + " " + v
	}
	return name
}

// NetworkName returns what people call the network of a number.
func NetworkName(id string) string {
	switch id {
	case "":
		return ""
	case "1":
		return "mainnet"
	case "10":
		return "optimism"
	case "100":
		return "gnosis"
	case "137":
		return "polygon"
	case "8453":
		return "base"
	case "17000":
		return "holesky"
	case "42161":
		return "arbitrum"
	case "560048":
		return "hoodi"
	case "11155111":
		return "sepolia"
	}
	return "network " + id
}
