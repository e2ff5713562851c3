package dashboard

import (
	"cmp"
	"fmt"
	"html/template"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/message"
	"sluice/sinks/dashboard/fleet"
)

// maxRows is the most rows of the plain page. A filter shows the others.
const maxRows = 1000

// page is what a template is given.
type page struct {
	Title string
	Here  string // which entry of the navigation it is
	Now   int64  // ms
	View  fleet.View
	Rate  fleet.Number // messages a second
	// Caught is false while history is still being read.
	Caught  bool
	Rows    []line // the nodes to show, in order
	Total   int    // nodes that match, shown or not
	Query   string
	Sort    string
	Headers []header
	Chained bool // any node speaks of a chain
	Connect connectLines
}

// header is the head of one column.
type header struct {
	Key, Label, Class string
	Href              template.URL
	Aria              string // ascending, descending or none
}

// line is one node as a template shows it.
type line struct {
	*fleet.Row
	Sub, Short, Net, Why string
	Age                  string
}

// tableHeads are the columns of the table. Those of class chain are shown only
// where a node speaks of a chain.
var tableHeads = []header{
	{Key: "state", Label: "State", Class: "st"},
	{Key: "node", Label: "Node", Class: "node"},
	{Key: "client", Label: "Client", Class: "client chain"},
	{Key: "block", Label: "Block", Class: "num blk chain"},
	{Key: "behind", Label: "Behind", Class: "num beh chain"},
	{Key: "peers", Label: "Peers", Class: "num peers chain"},
	{Key: "pending", Label: "Pending", Class: "num pend chain"},
	{Key: "cpu", Label: "CPU", Class: "num cpu pct"},
	{Key: "memory", Label: "Memory", Class: "num mem pct"},
	{Key: "disk", Label: "Disk", Class: "num disk pct"},
	{Key: "seen", Label: "Seen", Class: "num seen"},
}

// nodesPage returns the table of the nodes that match query, in the order of
// sort: the key of a column, with a minus before it to turn it round.
func nodesPage(p picture, query, sort string, connect connectLines) page {
	query = message.Printable(strings.TrimSpace(query), 100)
	key, down := strings.CutPrefix(sort, "-")
	if !slices.ContainsFunc(tableHeads, func(h header) bool { return h.Key == key }) {
		sort, key, down = "node", "node", false
	}
	pg := page{Title: "Nodes", Here: "nodes", Now: p.now.UnixMilli(), View: p.View, Rate: p.rate, Caught: p.caught, Query: query, Sort: sort, Connect: connect}
	for i := range p.Rows {
		r := &p.Rows[i]
		pg.Chained = pg.Chained || r.Chain != "" || r.Block.Known || r.Client != ""
		if matches(r, query) {
			pg.Rows = append(pg.Rows, line{
				Row: r, Sub: subtitle(r), Short: fleet.ShortClient(r.Client), Net: fleet.NetworkName(r.Network),
				Why: because(r), Age: age(pg.Now - r.Seen),
			})
		}
	}
	pg.Total = len(pg.Rows)
	order(pg.Rows, key, down)
	pg.Rows = pg.Rows[:min(len(pg.Rows), maxRows)]
	for _, h := range tableHeads {
		h.Aria = "none"
		to := h.Key
		if h.Key == key {
			h.Aria = "ascending"
			if down {
				h.Aria = "descending"
			} else {
				to = "-" + h.Key
			}
		}
		v := url.Values{"sort": {to}}
		if query != "" {
			v.Set("q", query)
		}
		h.Href = template.URL("/?" + v.Encode())
		pg.Headers = append(pg.Headers, h)
	}
	return pg
}

// matches reports whether a node has query in a text that is shown of it.
func matches(r *fleet.Row, query string) bool {
	if query == "" {
		return true
	}
	q := strings.ToLower(query)
	for _, s := range []string{r.Node, r.Agent, r.Name, r.Client, fleet.NetworkName(r.Network), string(r.State)} {
		if strings.Contains(strings.ToLower(s), q) {
			return true
		}
	}
	return false
}

// order sorts lines by a column: nodes that are offline last, then what is
// unknown, both whichever way round, and equals by name.
func order(lines []line, key string, down bool) {
	text := map[string]func(line) string{
		"node":   func(l line) string { return l.Node },
		"client": func(l line) string { return l.Short },
	}[key]
	number := func(l line) fleet.Number {
		switch key {
		case "state":
			return fleet.Number{Value: float64(slices.Index([]fleet.State{fleet.Lagging, fleet.Stale, fleet.OK, fleet.Offline}, l.State)), Known: true}
		case "block":
			return l.Block
		case "behind":
			return l.Behind
		case "peers":
			return l.Peers
		case "pending":
			return l.Pending
		case "cpu":
			return l.CPU
		case "memory":
			return l.Memory
		case "disk":
			return l.Disk
		default: // seen, as an age
			return fleet.Number{Value: -float64(l.Seen), Known: l.Seen > 0}
		}
	}
	turn := 1
	if down {
		turn = -1
	}
	slices.SortStableFunc(lines, func(a, b line) int {
		if c := yesLast(a.State == fleet.Offline, b.State == fleet.Offline); c != 0 {
			return c
		}
		if text != nil {
			x, y := text(a), text(b)
			return cmp.Or(yesLast(x == "", y == ""), turn*cmp.Compare(x, y))
		}
		x, y := number(a), number(b)
		return cmp.Or(yesLast(!x.Known, !y.Known), turn*cmp.Compare(x.Value, y.Value))
	})
}

// yesLast orders a before b if only b is true.
func yesLast(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// subtitle returns what stands below the name of a node: what its owner calls
// it and whose it is, where that says anything new.
func subtitle(r *fleet.Row) string {
	var parts []string
	if r.Name != "" && r.Name != r.Node && !strings.HasSuffix(r.Agent, "/"+r.Name) {
		parts = append(parts, r.Name)
	}
	if r.Agent != r.Node {
		parts = append(parts, "by "+r.Agent)
	}
	return strings.Join(parts, " · ")
}

// because returns what explains the state of a node, empty for nothing.
func because(r *fleet.Row) string {
	switch {
	case r.State == fleet.Offline && r.Reason != "":
		return "since " + clock(r.Since) + " UTC: " + r.Reason
	case r.State == fleet.Offline:
		return "since " + clock(r.Since) + " UTC"
	case r.State == fleet.Stale:
		return "connected or lately heard of, but reports nothing"
	case r.State == fleet.Lagging && r.Syncing:
		return "syncing"
	}
	return ""
}

// pages are the parsed templates.
type pages struct{ byName map[string]*template.Template }

func newPages() (*pages, error) {
	p := &pages{byName: make(map[string]*template.Template)}
	funcs := template.FuncMap{
		"num": group, "pct": percent, "behind": behind, "age": func(now, then int64) string { return age(now - then) },
		"rate": rateText, "blank": func() line { return line{Row: &fleet.Row{}} },
	}
	for _, name := range []string{"nodes", "connect", "missing"} {
		t, err := template.New("layout.html").Funcs(funcs).ParseFS(plain, "plain/layout.html", "plain/parts.html", "plain/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("read a template: %w", err)
		}
		p.byName[name] = t
	}
	return p, nil
}

func (p *pages) render(w io.Writer, name string, data page) error {
	return p.byName[name].ExecuteTemplate(w, "layout.html", data)
}

// unknown stands where there is no figure: zero would look like one.
const unknown = "–"

// group writes a whole number with commas: 21,000,001.
func group(n fleet.Number) string {
	if !n.Known {
		return unknown
	}
	s := strconv.FormatFloat(n.Value, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// percent writes a share of 100 without decimals.
func percent(n fleet.Number) string {
	if !n.Known {
		return unknown
	}
	return strconv.FormatFloat(math.Floor(n.Value+0.5), 'f', 0, 64) + "%"
}

// behind writes how many blocks a node is behind.
func behind(n fleet.Number) string {
	if !n.Known || n.Value == 0 {
		return group(n)
	}
	return "−" + group(n)
}

// rateText writes messages a second.
func rateText(n fleet.Number) string {
	if !n.Known || n.Value >= 100 {
		return group(n)
	}
	return strconv.FormatFloat(n.Value, 'f', 1, 64)
}

// age writes a span of ms as one figure and its unit.
func age(ms int64) string {
	s := max(0, ms/1000)
	switch {
	case s < 60:
		return strconv.FormatInt(s, 10) + " s"
	case s < 3600:
		return strconv.FormatInt(s/60, 10) + " min"
	case s < 48*3600:
		return strconv.FormatInt(s/3600, 10) + " h"
	default:
		return strconv.FormatInt(s/86400, 10) + " d"
	}
}

// clock writes a time of day, with the date where that is not enough.
func clock(ms int64) string { return time.UnixMilli(ms).UTC().Format("2 Jan 15:04") }
