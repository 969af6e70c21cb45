package syslog

import (
	"bufio"
	"bytes"
	"io"
)

// frameReader cuts a byte stream into messages. RFC 6587 knows two ways,
// which senders mix: "11 <13>message" counts octets, "<13>message\n" ends
// with a newline. A number and a space are a count only where "<" follows,
// so that text which begins with a number stays text.
type frameReader struct {
	in   *bufio.Reader
	data bytes.Buffer
}

// maxCount is the digits of the largest count that is believed.
const maxCount = 9

// next is the next message, valid until the call after, cut to MaxLength. An
// error comes alone: what was read before the stream broke is a message too.
func (f *frameReader) next() (frame []byte, cut bool, err error) {
	if err := f.skip(); err != nil {
		return nil, false, err
	}
	f.data.Reset()
	if count, ok := f.count(); ok {
		keep := min(count, MaxLength)
		_, err = io.CopyN(&f.data, f.in, keep)
		if err == nil {
			_, err = io.CopyN(io.Discard, f.in, count-keep)
		}
		cut = count > keep
	} else {
		cut, err = f.line()
	}
	if f.data.Len() == 0 {
		return nil, false, err
	}
	return f.data.Bytes(), cut, nil
}

// skip passes over what separates messages.
func (f *frameReader) skip() error {
	for {
		c, err := f.in.ReadByte()
		if err != nil {
			return err
		}
		if c != '\n' && c != '\r' && c != 0 {
			return f.in.UnreadByte()
		}
	}
}

// count takes "11 " off the stream where that and "<" come next.
func (f *frameReader) count() (n int64, ok bool) {
	for i := range maxCount + 1 {
		ahead, err := f.in.Peek(i + 1)
		if err != nil {
			return 0, false
		}
		switch c := ahead[i]; {
		case c >= '1' && c <= '9', c == '0' && i > 0:
			n = n*10 + int64(c-'0')
		case c == ' ' && i > 0:
			ahead, err = f.in.Peek(i + 2)
			if err != nil || ahead[i+1] != '<' {
				return 0, false
			}
			_, err = f.in.Discard(i + 1)
			return n, err == nil
		default:
			return 0, false
		}
	}
	return 0, false
}

// line reads to the newline, keeping MaxLength of it.
func (f *frameReader) line() (cut bool, err error) {
	for {
		part, err := f.in.ReadSlice('\n')
		room := MaxLength - f.data.Len()
		cut = cut || len(bytes.TrimSuffix(part, []byte("\n"))) > room
		f.data.Write(part[:min(len(part), room)])
		if err != bufio.ErrBufferFull {
			return cut, err
		}
	}
}
