package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
	"golang.org/x/sys/unix"
)

// The figures that Rethaw is held to.
const (
	frozenGoal     = 5 * time.Millisecond
	checkpointGoal = 20 * time.Millisecond
	restoreGoal    = 15 * time.Millisecond // above create and start
	memoryGoal     = 40_000_000            // bytes at the peak
	binaryGoal     = 15_000_000            // bytes
	rateGoal       = 0.5                   // of a plain write
)

// trivialRuns is in how many times as many rounds the trivial container is measured: they are short, and what is asked of them
// is a difference of two figures that vary by more than it.
const trivialRuns = 3

// trivial measures a container of a shell and a sleep.
func (b *bench) trivial() {
	c := b.rig.New(b, rig.Config{Args: []string{"/bin/sh", "-c", "sleep 1000000 & wait"}})
	var plain, paused, frozen, checkpoint, restore []time.Duration
	for i := range trivialRuns*b.runs + 1 {
		created := c.RuntimeCommand("create", "--bundle", c.Bundle)
		started := c.Runtime("start", c.ID)
		if started.Code != 0 {
			b.Fatalf("%v", started)
		}
		rig.Eventually(b, 10*time.Second, "the shell's child", func() bool { return len(c.Tasks()) == 2 })
		_, left := c.CheckpointStats("--leave-running")
		done, stats := c.CheckpointStats()
		restored := c.Restore()
		rig.Eventually(b, 10*time.Second, "the restored tasks", func() bool { return len(c.Tasks()) == 2 })
		c.Delete()
		if i == 0 {
			continue // everything is in the page cache from here on
		}
		plain = append(plain, created.Took+started.Took)
		paused = append(paused, time.Duration(left.Frozen)*time.Microsecond)
		frozen = append(frozen, time.Duration(stats.Frozen)*time.Microsecond)
		checkpoint = append(checkpoint, done.Took)
		restore = append(restore, restored.Took)
	}
	above := median(restore) - median(plain)
	b.goal("trivial container: frozen, and left running (-R)", ms(median(paused)), median(paused) < frozenGoal, "under "+ms(frozenGoal))
	b.goal("trivial container: frozen until it is safe on disk, killed", ms(median(frozen)), median(frozen) < frozenGoal, "under "+ms(frozenGoal))
	b.goal("trivial container: rethaw checkpoint, all of it", ms(median(checkpoint)), median(checkpoint) < checkpointGoal, "under "+ms(checkpointGoal))
	b.note("trivial container: "+b.rig.Runtime+" create and start", ms(median(plain)))
	b.note("trivial container: rethaw restore, all of it", ms(median(restore)))
	b.goal("trivial container: restore above create and start", ms(above), above <= restoreGoal, "at most "+ms(restoreGoal))
}

// redisWith runs a server with so many keys of a thousand bytes.
func (b *bench) redisWith(keys int) *rig.Container {
	c := b.rig.New(b, rig.Config{
		Args: []string{"/usr/bin/redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
			"--enable-debug-command", "yes", "--dir", "/tmp"},
		HostUsr: true,
	})
	c.Run()
	rig.Eventually(b, 30*time.Second, "redis to listen", func() bool {
		return c.Exec("/usr/bin/redis-cli", "ping").Code == 0
	})
	if r := c.Exec("/usr/bin/redis-cli", "debug", "populate", strconv.Itoa(keys), "key", "1000"); r.Code != 0 {
		b.Fatalf("%v", r)
	}
	return c
}

// large measures a server with ten times as much, left running, and then killed and restored. A plain write of as much is no
// measure here: where the machine's memory is the host's, new page cache takes longer than the disk.
func (b *bench) large() {
	c := b.redisWith(1_000_000)
	var frozen, dump, killed, restore []time.Duration
	for i := range min(b.runs, largeRuns) + 1 {
		if err := os.RemoveAll(c.Image); err != nil {
			b.Fatalf("%v", err)
		}
		b.settle()
		done, stats := c.CheckpointStats("--leave-running")
		if err := os.RemoveAll(c.Image); err != nil {
			b.Fatalf("%v", err)
		}
		b.settle()
		ended := c.Checkpoint()
		restored := c.Restore()
		if i == 0 {
			continue
		}
		frozen = append(frozen, time.Duration(stats.Frozen)*time.Microsecond)
		dump, killed, restore = append(dump, done.Took), append(killed, ended.Took), append(restore, restored.Took)
	}
	b.note("redis with 1 GB: size of the image", mb(c.ImageSize()))
	b.note("redis with 1 GB: frozen, and left running (-R)", ms(median(frozen)))
	b.note("redis with 1 GB: rethaw checkpoint -R, all of it", ms(median(dump)))
	b.note("redis with 1 GB: rethaw checkpoint, all of it", ms(median(killed)))
	b.note("redis with 1 GB: rethaw restore, all of it", ms(median(restore)))
}

// largeRuns is in how many rounds that is done, at most.
const largeRuns = 5

// redis measures a server with 100 MB of data, left running. The plain write makes a new file, so the dump that
// is held against it makes a new image; what it takes to replace one is told beside it.
func (b *bench) redis() {
	c := b.redisWith(100_000)
	var dump, replace, write, frozen, restore []time.Duration
	var size int64
	for i := range b.runs + 1 {
		if err := os.RemoveAll(c.Image); err != nil {
			b.Fatalf("%v", err)
		}
		b.settle()
		done, stats := c.CheckpointStats("--leave-running")
		size = c.ImageSize()
		b.settle()
		plain := b.plainWrite(filepath.Dir(c.Bundle), size)
		b.settle()
		again, _ := c.CheckpointStats("--leave-running")
		if i == 0 {
			continue
		}
		dump = append(dump, done.Took)
		replace = append(replace, again.Took)
		frozen = append(frozen, time.Duration(stats.Frozen)*time.Microsecond)
		write = append(write, plain)
	}
	for range b.runs {
		c.Delete()
		restored := c.Restore()
		restore = append(restore, restored.Took)
	}
	var verify, read []time.Duration
	for range b.runs {
		read = append(read, b.plainRead(c.Image))
		verified := c.Verify(c.Image)
		if verified.Code != 0 {
			b.Fatalf("%v", verified)
		}
		verify = append(verify, verified.Took)
	}
	memory := c.PeakMemory("checkpoint", "--image", c.Image)
	restoreMemory := c.PeakMemory("restore", "--detach", "--bundle", c.Bundle, "--image", c.Image)
	rate := float64(median(write)) / float64(median(dump))
	b.note("redis with 100 MB: size of the image", mb(size))
	b.note("redis with 100 MB: frozen", ms(median(frozen)))
	b.note("redis with 100 MB: plain write and fsync of as many bytes", ms(median(write)))
	b.note("redis with 100 MB: rethaw checkpoint -R, all of it", ms(median(dump)))
	b.note("redis with 100 MB: the same, with an old image to remove", ms(median(replace)))
	b.goal("redis with 100 MB: rate of the dump to that of the write", strconv.FormatFloat(rate, 'f', 2, 64), rate >= rateGoal,
		"at least "+strconv.FormatFloat(rateGoal, 'f', 2, 64))
	b.note("redis with 100 MB: rethaw restore, all of it", ms(median(restore)))
	b.note("redis with 100 MB: plain read of as many bytes", ms(median(read)))
	b.note("redis with 100 MB: rethaw verify", ms(median(verify)))
	b.goal("redis with 100 MB: peak memory of checkpoint", mb(memory), memory < memoryGoal, "under "+mb(memoryGoal))
	b.goal("redis with 100 MB: peak memory of restore", mb(restoreMemory), restoreMemory < memoryGoal, "under "+mb(memoryGoal))
}

// settle lets the disk come to rest: what was written or removed for the last figure is no part of the next.
func (b *bench) settle() {
	unix.Sync()
	time.Sleep(50 * time.Millisecond)
}

// plainWrite writes so many bytes into a new file beside the image, as an image is
// written: in large pieces, and on the disk when it returns.
func (b *bench) plainWrite(dir string, size int64) time.Duration {
	piece := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	path := filepath.Join(dir, "plain")
	start := time.Now()
	file, err := os.Create(path)
	if err != nil {
		b.Fatalf("plain write: %v", err)
	}
	for left := size; left > 0; left -= int64(len(piece)) {
		if _, err := file.Write(piece[:min(left, int64(len(piece)))]); err != nil {
			b.Fatalf("plain write: %v", err)
		}
	}
	if err := file.Sync(); err != nil {
		b.Fatalf("plain write: %v", err)
	}
	if err := file.Close(); err != nil {
		b.Fatalf("plain write: %v", err)
	}
	took := time.Since(start)
	_ = os.Remove(path)
	return took
}

// plainRead reads all files of an image, which are in the page cache.
func (b *bench) plainRead(dir string) time.Duration {
	start := time.Now()
	files, err := os.ReadDir(dir)
	if err != nil {
		b.Fatalf("plain read: %v", err)
	}
	piece := make([]byte, 1<<20)
	for _, f := range files {
		file, err := os.Open(filepath.Join(dir, f.Name()))
		if err != nil {
			b.Fatalf("plain read: %v", err)
		}
		for err == nil {
			_, err = file.Read(piece)
		}
		if err != io.EOF {
			b.Fatalf("plain read: %v", err)
		}
		file.Close()
	}
	return time.Since(start)
}

// size looks at the program itself.
func (b *bench) size() {
	info, err := os.Stat(b.rig.Rethaw)
	if err != nil {
		b.Fatalf("%v", err)
	}
	b.goal("the program", mb(info.Size()), info.Size() < binaryGoal, "under "+mb(binaryGoal))
}
