package dynamodb

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/message"
)

// valueOf returns a value of a body as an attribute. Numbers keep every digit.
// The error names the path of what has no place in DynamoDB.
func valueOf(path string, v any) (types.AttributeValue, *message.Fault) {
	switch v := v.(type) {
	case nil:
		return &types.AttributeValueMemberNULL{Value: true}, nil
	case bool:
		return &types.AttributeValueMemberBOOL{Value: v}, nil
	case int32:
		return integer(int64(v)), nil
	case int64:
		return integer(v), nil
	case float32:
		return float(path, float64(v), 32)
	case float64:
		return float(path, v, 64)
	case string:
		return text(v), nil
	case []byte:
		// Not nil, which the encoder would leave out.
		return &types.AttributeValueMemberB{Value: append([]byte{}, v...)}, nil
	case time.Time:
		return &types.AttributeValueMemberN{Value: millis(v)}, nil
	case []any:
		list := make([]types.AttributeValue, len(v))
		for i := range v {
			var err *message.Fault
			if list[i], err = valueOf(fmt.Sprintf("%s[%d]", path, i), v[i]); err != nil {
				return nil, err
			}
		}
		return &types.AttributeValueMemberL{Value: list}, nil
	case map[string]any:
		return mapOf(path, v)
	default:
		return nil, &message.Fault{Code: message.CodeUnsupported, Field: path, Reason: fmt.Sprintf("no attribute for a %T", v)}
	}
}

// mapOf returns a record or a map as an attribute. What is absent is left out,
// so that attribute_exists says whether a field is there; inside a list it keeps
// its place as NULL.
func mapOf(path string, m map[string]any) (types.AttributeValue, *message.Fault) {
	out := make(map[string]types.AttributeValue, len(m))
	for name, v := range m {
		if v == nil {
			continue
		}
		if name == "" {
			return nil, &message.Fault{Code: message.CodeUnsupported, Field: path, Reason: "an empty name, DynamoDB wants one of at least one character"}
		}
		var err *message.Fault
		if out[name], err = valueOf(path+"."+name, v); err != nil {
			return nil, err
		}
	}
	return &types.AttributeValueMemberM{Value: out}, nil
}

// The magnitudes that a number of DynamoDB has, besides 0. Its 38 digits are more
// than any float has.
const (
	minNumber = 1e-130
	maxNumber = 1e126 // and less
)

// float returns the shortest digits that give the same float again.
func float(path string, f float64, bits int) (types.AttributeValue, *message.Fault) {
	switch a := math.Abs(f); {
	case a == 0:
		return integer(0), nil // -0 too: DynamoDB has one zero
	case math.IsNaN(f), a < minNumber, a >= maxNumber:
		return nil, &message.Fault{Code: message.CodeNumber, Field: path, Reason: fmt.Sprintf("%v is no number that DynamoDB has", f)}
	}
	return &types.AttributeValueMemberN{Value: strconv.FormatFloat(f, 'g', -1, bits)}, nil
}

// measure returns how large an item is by the rules of "DynamoDB item sizes and
// formats" in the Developer Guide, and at most how long in a request.
func measure(it item) (size, wire int) {
	return members(it)
}

func members(m map[string]types.AttributeValue) (size, wire int) {
	wire = 2
	for name, v := range m {
		s, w := measureValue(v)
		size += len(name) + s
		wire += quoted(name) + w + 2
	}
	return size, wire
}

func measureValue(v types.AttributeValue) (size, wire int) {
	// What stands around every value: {"NULL":} and the quotes.
	const around = 10
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value), quoted(v.Value) + around
	case *types.AttributeValueMemberN:
		digits := v.Value
		if i := strings.IndexByte(digits, 'e'); i >= 0 {
			digits = digits[:i]
		}
		// A byte for two digits and one for the exponent; the sign may take one
		// more, and so may digits that do not pair up around the point.
		return (len(digits)+1)/2 + 2, len(v.Value) + around
	case *types.AttributeValueMemberB:
		return len(v.Value), (len(v.Value)+2)/3*4 + around
	case *types.AttributeValueMemberL:
		size, wire = 3, around
		for _, inner := range v.Value {
			s, w := measureValue(inner)
			size += s + 1
			wire += w + 1
		}
		return size, wire
	case *types.AttributeValueMemberM:
		size, wire = members(v.Value)
		return size + 3 + len(v.Value), wire + around
	default: // BOOL, NULL
		return 1, 5 + around
	}
}

// quoted returns at most how long s is as a string in JSON.
func quoted(s string) int {
	n := len(s) + 2
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c == '"', c == '\\', c == '<', c == '>', c == '&', c == 0x7F:
			n += 5
		case c == 0xE2: // the line separators are written as \u2028 and \u2029
			n += 3
		}
	}
	return n
}
