package main

import (
	"fmt"
	"strconv"
	"strings"
)

// byteSize is a flag for a number of bytes: 4096, 512M, 10G, 2T.
type byteSize int64

const byteUnits = "KMGT"

func (b *byteSize) Type() string { return "bytes" }

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return sizeText(int64(*b))
}

func (b *byteSize) Set(s string) error {
	number := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(s), "B"), "I") // 10GiB and 10GB are what a person means by 10G
	shift := 0
	if i := strings.IndexByte(byteUnits, last(number)); i >= 0 {
		number, shift = number[:len(number)-1], 10*(i+1)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return fmt.Errorf("%q is not a number of bytes: use 512M, 10G or 2T", s)
	}
	*b = byteSize(n << shift)
	return nil
}

func last(s string) byte {
	if s == "" {
		return 0
	}
	return s[len(s)-1]
}

// sizeText is a number of bytes as people write it.
func sizeText(n int64) string {
	unit := ""
	value := float64(n)
	for i := 0; i < len(byteUnits) && value >= 1024; i++ {
		value, unit = value/1024, byteUnits[i:i+1]
	}
	return strings.TrimSuffix(strconv.FormatFloat(value, 'f', 1, 64), ".0") + unit
}
