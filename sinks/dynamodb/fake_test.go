package dynamodb

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// fake is a DynamoDB of one table, in the JSON 1.0 protocol, as strict as the
// real one about what this package sends.
type fake struct {
	*httptest.Server
	t testing.TB

	mu    sync.Mutex
	table map[string]any // what DescribeTable returns; nil for none
	ttl   map[string]any
	items map[string]map[string]value // by pk, newline, sk
	ops   []string                    // in the order in which they came
	busy  map[string]int              // keys of puts in flight
	clash bool                        // two requests held one key at a time
	most  int                         // most requests in flight at a time
	now   int                         // requests in flight
	agent string                      // the last user agent

	// answer, if not nil, may answer a request before it is carried out. It is
	// called with the number of requests of that operation so far, from 1.
	answer func(op string, n int, body []byte) *reply
	// cut, if not nil, says whether the connection ends after a request was carried
	// out, in place of an answer.
	cut func(op string, body []byte) bool
	// slow is how long each put takes.
	slow time.Duration
	// back returns how many of n items of a BatchWriteItem are not carried out.
	back func(call, n int) int
}

// value is an attribute in DynamoDB's JSON.
type value = map[string]any

// reply is an answer; without a status, the beginning of one, and then nothing.
type reply struct {
	status int
	body   string
}

// failure is an error as DynamoDB writes it.
func failure(status int, code, text string) *reply {
	return &reply{status, fmt.Sprintf(`{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":%q}`, code, text)}
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{t: t, items: map[string]map[string]value{}, busy: map[string]int{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.CloseClientConnections()
		f.Close()
	})
	return f
}

// keyed sets the table that there is.
func (f *fake) keyed(status string, keys ...string) {
	var schema, definitions []any
	for _, k := range keys {
		part := strings.Fields(k)
		schema = append(schema, map[string]any{"AttributeName": part[0], "KeyType": part[2]})
		definitions = append(definitions, map[string]any{"AttributeName": part[0], "AttributeType": part[1]})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.table = map[string]any{"TableName": "sluice", "TableStatus": status, "KeySchema": schema, "AttributeDefinitions": definitions}
}

// answers sets answer, also while requests are in flight.
func (f *fake) answers(with func(op string, n int, body []byte) *reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = with
}

func (f *fake) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, o := range f.ops {
		if o == op {
			n++
		}
	}
	return n
}

// all returns a copy of the items whose sort key does or does not begin with
// latest.
func (f *fake) all(latest bool) []map[string]value {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []map[string]value
	for _, k := range slices.Sorted(maps.Keys(f.items)) {
		if strings.Contains(k, "\nlatest#") == latest {
			out = append(out, maps.Clone(f.items[k]))
		}
	}
	return out
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	f.mu.Lock()
	f.ops = append(f.ops, op)
	f.agent = r.UserAgent()
	f.now++
	f.most = max(f.most, f.now)
	answer := f.answer
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.now--
		f.mu.Unlock()
	}()
	n := f.count(op)
	var out *reply
	if answer != nil {
		out = answer(op, n, body)
	}
	if out == nil {
		out = f.do(op, n, body)
		if f.cut != nil {
			f.mu.Lock()
			cut := f.cut(op, body)
			f.mu.Unlock()
			if cut {
				panic(http.ErrAbortHandler)
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if out.status == 0 {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, out.body)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(out.status)
	_, _ = io.WriteString(w, out.body)
}

// request is of all operations what this package uses.
type request struct {
	TableName    string
	Item         map[string]value
	RequestItems map[string][]struct {
		PutRequest struct{ Item map[string]value }
	}

	ConditionExpression       string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues map[string]value

	BillingMode             string
	KeySchema               jsontext.Value
	AttributeDefinitions    jsontext.Value
	TimeToLiveSpecification map[string]any
}

func (f *fake) do(op string, n int, body []byte) *reply {
	var in request
	if err := json.Unmarshal(body, &in); err != nil {
		return failure(400, "SerializationException", err.Error())
	}
	switch op {
	case "BatchWriteItem":
		return f.batch(n, &in)
	case "PutItem":
		return f.put(&in)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.table == nil && op != "CreateTable" {
		return failure(400, "ResourceNotFoundException", "Requested resource not found")
	}
	switch op {
	case "DescribeTable":
		out := ok(map[string]any{"Table": f.table})
		f.table["TableStatus"] = "ACTIVE" // from the next look on
		return out
	case "CreateTable":
		if f.table != nil {
			return failure(400, "ResourceInUseException", "Table already exists: sluice")
		}
		if in.BillingMode != "PAY_PER_REQUEST" {
			return failure(400, "ValidationException", "no throughput")
		}
		f.table = map[string]any{"TableName": in.TableName, "TableStatus": "CREATING", "KeySchema": in.KeySchema, "AttributeDefinitions": in.AttributeDefinitions}
		return ok(map[string]any{"TableDescription": f.table})
	case "DescribeTimeToLive":
		return ok(map[string]any{"TimeToLiveDescription": f.ttl})
	case "UpdateTimeToLive":
		f.ttl = map[string]any{"TimeToLiveStatus": "ENABLING", "AttributeName": in.TimeToLiveSpecification["AttributeName"]}
		return ok(map[string]any{"TimeToLiveSpecification": in.TimeToLiveSpecification})
	}
	return failure(400, "UnknownOperationException", op)
}

func ok(v any) *reply {
	b, err := json.Marshal(v)
	if err != nil {
		return failure(500, "InternalServerError", err.Error())
	}
	return &reply{200, string(b)}
}

func keyText(it map[string]value) string {
	return fmt.Sprint(it["pk"]["S"], "\n", it["sk"]["S"])
}

// hold notes that puts of these keys are in flight for a while.
func (f *fake) hold(keys []string) {
	f.mu.Lock()
	for _, k := range keys {
		f.busy[k]++
		f.clash = f.clash || f.busy[k] > 1
	}
	slow := f.slow
	f.mu.Unlock()
	time.Sleep(slow)
	f.mu.Lock()
	for _, k := range keys {
		f.busy[k]--
	}
	f.mu.Unlock()
}

func (f *fake) batch(call int, in *request) *reply {
	requests := in.RequestItems["sluice"]
	if len(requests) == 0 || len(requests) > 25 || len(in.RequestItems) > 1 {
		return failure(400, "ValidationException", "Too many items requested for the BatchWriteItem call")
	}
	var keys []string
	for _, r := range requests {
		k := keyText(r.PutRequest.Item)
		if slices.Contains(keys, k) {
			return failure(400, "ValidationException", "Provided list of item keys contains duplicates")
		}
		if why := refused(r.PutRequest.Item); why != "" {
			return failure(400, "ValidationException", why)
		}
		keys = append(keys, k)
	}
	f.hold(keys)
	f.mu.Lock()
	defer f.mu.Unlock()
	back := 0
	if f.back != nil {
		back = f.back(call, len(requests))
	}
	unprocessed := map[string]any{}
	if back > 0 {
		unprocessed["sluice"] = requests[:back]
	}
	for _, r := range requests[back:] {
		f.items[keyText(r.PutRequest.Item)] = r.PutRequest.Item
	}
	return ok(map[string]any{"UnprocessedItems": unprocessed})
}

// refused says why an item cannot be: one whose ID or network is poisoned.
func refused(it map[string]value) string {
	id, _ := it["id"]["S"].(string)
	network, _ := it["network"]["S"].(string)
	if strings.Contains(id+network, "poison") {
		return "One or more parameter values were invalid: poison"
	}
	return ""
}

func (f *fake) put(in *request) *reply {
	if why := refused(in.Item); why != "" {
		return failure(400, "ValidationException", why)
	}
	k := keyText(in.Item)
	f.hold([]string{k})
	f.mu.Lock()
	defer f.mu.Unlock()
	if in.ConditionExpression != "" {
		if in.ConditionExpression != "attribute_not_exists(#v) OR #v <= :v" {
			return failure(400, "ValidationException", "another condition: "+in.ConditionExpression)
		}
		old, there := f.items[k][in.ExpressionAttributeNames["#v"]]
		if there && old["S"].(string) > in.ExpressionAttributeValues[":v"]["S"].(string) {
			return failure(400, "ConditionalCheckFailedException", "The conditional request failed")
		}
	}
	f.items[k] = in.Item
	return ok(map[string]any{})
}
