package fleet

import (
	"fmt"
	"regexp"
	"strconv"
)

// SizeProblem says why a text is no size that nginx reads, between least and
// most bytes; "" is nothing. Written are whole numbers, of bytes or with one
// unit: k or m. There is no g, which nginx takes in a few places only.
func SizeProblem(text string, least, most int64) string {
	if !size.MatchString(text) {
		return fmt.Sprintf("%s: write a number and a unit, as in 64k or 10m", shown(text))
	}
	if n := sizeOf(text); n < least || n > most {
		return fmt.Sprintf("%q: use %s to %s", clip(text), sizeText(least), sizeText(most))
	}
	return ""
}

var size = regexp.MustCompile(`^[0-9]{1,9}[km]?$`)

// sizeOf is the bytes that a size stands for; the text has been checked.
func sizeOf(text string) int64 {
	number, unit := text, int64(1)
	switch text[len(text)-1] {
	case 'k':
		number, unit = text[:len(text)-1], 1<<10
	case 'm':
		number, unit = text[:len(text)-1], 1<<20
	}
	n, _ := strconv.ParseInt(number, 10, 64) // of at most nine digits
	return n * unit
}

// sizeText writes a size as people do.
func sizeText(n int64) string {
	switch {
	case n > 0 && n%(1<<20) == 0:
		return fmt.Sprintf("%dm", n>>20)
	case n > 0 && n%(1<<10) == 0:
		return fmt.Sprintf("%dk", n>>10)
	}
	return fmt.Sprint(n)
}
