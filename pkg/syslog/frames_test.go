package syslog_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"fairlead/pkg/syslog"
)

func frames(t testing.TB, in io.Reader) (all []string, cuts int) {
	next := syslog.Frames(in)
	for {
		frame, cut, err := next()
		if err != nil {
			if len(frame) > 0 {
				t.Fatalf("frame %q came with error %v", frame, err)
			}
			return all, cuts
		}
		if len(frame) == 0 || len(frame) > syslog.MaxLength {
			t.Fatalf("frame of %d bytes", len(frame))
		}
		if cut {
			cuts++
		}
		all = append(all, strings.TrimRight(string(frame), "\n"))
	}
}

func TestBothFramingsAreRead(t *testing.T) {
	long := strings.Repeat("x", syslog.MaxLength)
	for name, c := range map[string]struct {
		in   string
		want []string
		cuts int
	}{
		"newlines":                     {"<13>a\n<13>b\n", []string{"<13>a", "<13>b"}, 0},
		"counts":                       {"5 <13>a6 <13>bc", []string{"<13>a", "<13>bc"}, 0},
		"a count over a newline":       {"7 <13>a\nb<13>c", []string{"<13>a\nb", "<13>c"}, 0},
		"both mixed":                   {"5 <13>a\n<13>b\n5 <13>c", []string{"<13>a", "<13>b", "<13>c"}, 0},
		"text that begins with digits": {"12 apples\n2025/11/22 x\n", []string{"12 apples", "2025/11/22 x"}, 0},
		"a count that is a lie":        {"500 <13>a", []string{"<13>a"}, 0},
		"a count beyond belief":        {"99999999999 <13>a\nb\n", []string{"99999999999 <13>a", "b"}, 0},
		"no end":                       {"<13>a", []string{"<13>a"}, 0},
		"empty lines":                  {"\n\r\n\x00<13>a\r\n\n", []string{"<13>a\r"}, 0},
		"a line too long":              {long + "yz\n<13>b\n", []string{long, "<13>b"}, 1},
		"a line just long enough":      {long + "\n<13>b\n", []string{long, "<13>b"}, 0},
		"a count too long":             {"65540 <13>" + long + "<13>b\n", []string{("<13>" + long)[:syslog.MaxLength], "<13>b"}, 1},
		"nothing":                      {"", nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
				if got, cuts := frames(t, in); !slices.Equal(got, c.want) || cuts != c.cuts {
					t.Fatalf("got %.200q, %d cut", got, cuts)
				}
			}
		})
	}
}

func FuzzFrames(f *testing.F) {
	for _, s := range []string{"<13>a\n", "5 <13>a", "0 <", "1 <", "9999999999 <1>", "12", "12 ", "\n\n", "3 <\n<"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole, _ := frames(t, bytes.NewReader(data))
		pieces, _ := frames(t, iotest.HalfReader(bytes.NewReader(data)))
		if !slices.Equal(whole, pieces) {
			t.Fatalf("the same bytes in other pieces: %q and %q", whole, pieces)
		}
	})
}
