package config

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as "64MiB", "512 MB" or a plain number.
type Size int64

// units are the factors of sizes, the largest first.
var units = []struct {
	name   string
	factor int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9},
	{"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads a size: a number, which may have a fraction as long as it
// makes whole bytes, and a unit in either case with or without a space before.
func ParseSize(s string) (Size, error) {
	number := strings.TrimSpace(s)
	factor := int64(1)
	for _, u := range units {
		if n := len(number) - len(u.name); n > 0 && strings.EqualFold(number[n:], u.name) {
			number, factor = strings.TrimSpace(number[:n]), u.factor
			break
		}
	}
	if number == "" || len(number) > 20 || strings.Trim(strings.TrimPrefix(number, "-"), "0123456789.") != "" {
		return 0, errors.New("not a size")
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, errors.New("not a size")
	}
	r.Mul(r, new(big.Rat).SetInt64(factor))
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, errors.New("not a whole number of bytes below 8 EiB")
	}
	return Size(r.Num().Int64()), nil
}

// String returns the size in the largest unit that divides it, such that
// ParseSize reads the same.
func (s Size) String() string {
	if s > 0 {
		for _, u := range units[:len(units)-1] {
			if int64(s)%u.factor == 0 {
				return strconv.FormatInt(int64(s)/u.factor, 10) + u.name
			}
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// UnmarshalText reads what ParseSize reads, for flags.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}

// MarshalText returns String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
