package agent

import (
	"testing"
	"time"
)

func open(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestWhatCanWaitGoesBehindTheFirstSyncOfAConnection(t *testing.T) {
	l := newLink()
	l.calm(0) // of a sync that ended as the link broke
	l.up()
	if !open(l.connected()) || open(l.settled()) {
		t.Fatal("before a sync all goes, or nothing does")
	}
	l.calm(0)
	<-l.settled()
	l.calm(time.Hour) // a later sync holds back nothing
	if !open(l.settled()) || l.ease() > 0 {
		t.Error("a later sync holds something back")
	}
	l.down()
	if open(l.connected()) || open(l.settled()) {
		t.Error("something goes without a link")
	}
	l.up()
	l.calm(1000 * time.Hour)
	if open(l.settled()) {
		t.Error("one of very many goes at once")
	}
	l.down()
	l.up()
	l.calm(time.Millisecond)
	<-l.settled()
}
