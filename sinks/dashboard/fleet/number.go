package fleet

import (
	"math"
	"strconv"
)

// Number is a figure that may be unknown, which is not zero. It encodes to JSON
// as a number or null.
type Number struct {
	Value float64
	Known bool
}

// MarshalJSON returns the number, or null where it is unknown.
func (n Number) MarshalJSON() ([]byte, error) {
	if !n.Known {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, n.Value, 'f', -1, 64), nil
}

// maxExact is the largest whole number that a browser holds exactly.
const maxExact = 1<<53 - 1

// number reads a field of a body. Anything that is no finite number is unknown.
func number(v any) Number {
	var f float64
	switch v := v.(type) {
	case int32:
		f = float64(v)
	case int64:
		if v > maxExact || v < -maxExact {
			return Number{}
		}
		f = float64(v)
	case float32:
		f = float64(v)
	case float64:
		f = v
	default:
		return Number{}
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Number{}
	}
	return Number{f, true}
}

// count reads a field that cannot be negative, such as a height or peers.
func count(v any) Number {
	n := number(v)
	if n.Value < 0 {
		return Number{}
	}
	return n
}

// percent reads a share of 100 and rounds it to one decimal. What lies outside
// 0 to 100 is unknown.
func percent(v any) Number {
	n := number(v)
	if !n.Known || n.Value < 0 || n.Value > 100 {
		return Number{}
	}
	n.Value = math.Round(n.Value*10) / 10
	return n
}

// measure reads a figure that cannot be negative and rounds it to two decimals.
func measure(v any) Number {
	n := count(v)
	n.Value = math.Round(n.Value*100) / 100
	return n
}
