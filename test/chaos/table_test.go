package chaos

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/message"
	"sluice/test/chaos/judge"
	"sluice/test/services"
)

const region, accessKey = "eu-central-1", "chaos"

// awsEnvironment is what the sink needs of the usual AWS chain.
func awsEnvironment() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + accessKey, "AWS_EC2_METADATA_DISABLED=true"}
}

// table is that of the sink, seen by a client of the test's own.
type table struct {
	endpoint, name string
	client         *dynamodb.Client
}

func newTable(t *testing.T) *table {
	t.Helper()
	d := services.DynamoDB(t)
	name := "chaos-" + strings.ToLower(strings.NewReplacer("/", "-").Replace(t.Name()))
	tb := &table{endpoint: d.Endpoint, name: name + "-" + strings.ToLower(rand.Text()[:8]), client: dynamodb.New(dynamodb.Options{
		Region: region, BaseEndpoint: aws.String(d.Endpoint),
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, accessKey, ""),
	})}
	t.Cleanup(func() {
		// The DynamoDB may be one that outlives this run.
		_, _ = tb.client.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: &tb.name})
	})
	return tb
}

// scan returns every item.
func (tb *table) scan(t *testing.T) []map[string]types.AttributeValue {
	t.Helper()
	var all []map[string]types.AttributeValue
	pages := dynamodb.NewScanPaginator(tb.client, &dynamodb.ScanInput{TableName: &tb.name, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatalf("scan table: %v", err)
		}
		all = append(all, page.Items...)
	}
	return all
}

// items returns every item as the judge knows them.
func (tb *table) items(t *testing.T) []judge.Item {
	t.Helper()
	var all []judge.Item
	for _, row := range tb.scan(t) {
		m, ok := plain(&types.AttributeValueMemberM{Value: row}).(map[string]any)
		if !ok {
			t.Fatalf("an item that is no map: %v", row)
		}
		body, _ := m["body"].(map[string]any)
		it := judge.Item{
			Key: text(m["pk"]) + " " + text(m["sk"]), Latest: strings.HasPrefix(text(m["sk"]), "latest#"),
			ID: text(m["id"]), Agent: text(m["agent"]), Node: text(m["node"]),
			Index: int(number(m["index"])), Event: int64(number(m["event_time"])),
			Content: judge.Content{Type: text(m["type"]), Kind: text(m["kind"]), Time: int64(number(m["observed_at"])), Body: canonical(body)},
		}
		if src, ok := message.ParseSource([]byte(strings.Replace(text(m["src"]), "-", ":", 1))); ok {
			it.Src = src
		} else {
			t.Errorf("item %s: src is %v", it.Key, m["src"])
		}
		all = append(all, it)
	}
	return all
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func number(v any) float64 {
	f, _ := v.(float64)
	return f
}

// plain returns an attribute as JSON has it.
func plain(v types.AttributeValue) any {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		f, err := strconv.ParseFloat(v.Value, 64)
		if err != nil {
			return v.Value
		}
		return f
	case *types.AttributeValueMemberBOOL:
		return v.Value
	case *types.AttributeValueMemberM:
		m := map[string]any{}
		for name, v := range v.Value {
			m[name] = plain(v)
		}
		return m
	case *types.AttributeValueMemberL:
		l := []any{}
		for _, v := range v.Value {
			l = append(l, plain(v))
		}
		return l
	case *types.AttributeValueMemberNULL:
		return nil
	default:
		return fmt.Sprintf("%T", v)
	}
}

// hash is of all items with all their attributes, whatever their order.
func (tb *table) hash(t *testing.T) (sum string, items int) {
	t.Helper()
	var rows []string
	for _, row := range tb.scan(t) {
		rows = append(rows, exact(&types.AttributeValueMemberM{Value: row}))
	}
	slices.Sort(rows)
	all := sha256.Sum256([]byte(strings.Join(rows, "\n")))
	return hex.EncodeToString(all[:8]), len(rows)
}

// exact returns an attribute as text that no other has.
func exact(v types.AttributeValue) string {
	switch v := v.(type) {
	case *types.AttributeValueMemberM:
		var fields []string
		for name, v := range v.Value {
			fields = append(fields, strconv.Quote(name)+":"+exact(v))
		}
		slices.Sort(fields)
		return "{" + strings.Join(fields, ",") + "}"
	case *types.AttributeValueMemberL:
		var elements []string
		for _, v := range v.Value {
			elements = append(elements, exact(v))
		}
		return "[" + strings.Join(elements, ",") + "]"
	case *types.AttributeValueMemberN:
		return "N" + v.Value
	default:
		return fmt.Sprintf("%T%q", v, fmt.Sprint(plain(v)))
	}
}

// empty deletes every item.
func (tb *table) empty(t *testing.T) {
	t.Helper()
	rows := tb.scan(t)
	for some := range slices.Chunk(rows, 25) {
		var requests []types.WriteRequest
		for _, row := range some {
			requests = append(requests, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: map[string]types.AttributeValue{"pk": row["pk"], "sk": row["sk"]}}})
		}
		for len(requests) > 0 {
			out, err := tb.client.BatchWriteItem(t.Context(), &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{tb.name: requests}})
			if err != nil {
				t.Fatalf("empty table: %v", err)
			}
			requests = out.UnprocessedItems[tb.name]
		}
	}
	if left := tb.scan(t); len(left) > 0 {
		t.Fatalf("%d items are left in the table", len(left))
	}
}
