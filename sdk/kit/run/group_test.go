// SPDX-License-Identifier: Apache-2.0

package run_test

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/sdk/kit/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func waits(name string) run.Task {
	return run.Task{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	}}
}

func fails(name string, err error) run.Task {
	return run.Task{Name: name, Run: func(context.Context) error { return err }}
}

func TestGroupReturnsTheFirstErrorWithTheTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		watcher := run.Task{Name: "watcher", Run: func(ctx context.Context) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return errors.New("late")
		}}
		err := run.Group(t.Context(), waits("a"), watcher, run.Task{Name: "breaks", Run: func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Minute):
				return io.ErrUnexpectedEOF
			}
		}})
		if !errors.Is(err, io.ErrUnexpectedEOF) || err.Error() != "breaks: unexpected EOF" {
			t.Errorf("got %v", err)
		}
		if !errors.Is(cause, io.ErrUnexpectedEOF) {
			t.Errorf("the others were canceled with the cause %v", cause)
		}
	})
}

func TestGroupWaitsForEveryTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slowEnded atomic.Bool
		slow := run.Task{Name: "slow", Run: func(ctx context.Context) error {
			<-ctx.Done()
			<-time.After(time.Hour)
			slowEnded.Store(true)
			return nil
		}}
		if err := run.Group(t.Context(), slow, fails("breaks", io.EOF)); !errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
		if !slowEnded.Load() {
			t.Error("returned before a task had ended")
		}
	})
}

func TestGroupIsNilWhenCanceled(t *testing.T) {
	for _, tc := range []struct {
		name  string
		tasks []run.Task
	}{
		{"tasks return nil", []run.Task{waits("a"), waits("b")}},
		{"a task returns its context's error", []run.Task{waits("a"), {Name: "b", Run: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}}},
		{"a task fails to stop", []run.Task{{Name: "b", Run: func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("flush failed")
		}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- run.Group(ctx, tc.tasks...) }()
				synctest.Wait()
				select {
				case err := <-done:
					t.Fatalf("ended early with %v", err)
				default:
				}
				cancel()
				if err := <-done; err != nil {
					t.Errorf("got %v, want nil", err)
				}
			})
		})
	}
}

func TestGroupKeepsRunningWhenATaskIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if err := run.Group(ctx, fails("done at once", nil), waits("a")); err != nil {
			t.Errorf("got %v", err)
		}
		if ran := time.Since(start); ran != time.Minute {
			t.Errorf("ran %s, want until the context ended", ran)
		}
	})
	if err := run.Group(t.Context(), fails("a", nil), fails("b", nil)); err != nil {
		t.Errorf("all done: got %v", err)
	}
	if err := run.Group(t.Context()); err != nil {
		t.Errorf("no tasks: got %v", err)
	}
}

func TestUntilSignal(t *testing.T) {
	ctx, stop := run.UntilSignal(t.Context())
	defer stop()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("SIGTERM did not cancel the context")
	}
}

func TestClosersCloseInReverseAndAllOfThem(t *testing.T) {
	var order []string
	var c run.Closers
	add := func(name string, err error) {
		c.Add(name, func(context.Context) error {
			order = append(order, name)
			return err
		})
	}
	add("store", nil)
	add("queue", io.ErrShortWrite)
	add("listener", io.ErrClosedPipe)

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	err := c.Close(canceled, time.Minute)
	if want := []string{"listener", "queue", "store"}; !slices.Equal(order, want) {
		t.Errorf("closed %v, want %v", order, want)
	}
	if !errors.Is(err, io.ErrShortWrite) || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want both errors", err)
	}
	if want := "close listener: io: read/write on closed pipe\nclose queue: short write"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if err := c.Close(t.Context(), time.Minute); err != nil || len(order) != 3 {
		t.Errorf("a second Close did something: %v, %v", err, order)
	}
}

func TestClosersShareOneDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c run.Closers
		var lastHadEnded bool
		c.Add("last", func(ctx context.Context) error {
			lastHadEnded = ctx.Err() != nil
			return nil
		})
		c.Add("slow", func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		start := time.Now()
		err := c.Close(t.Context(), 30*time.Second)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 30*time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		if !lastHadEnded {
			t.Error("the last one got more time than there was")
		}
	})
}
