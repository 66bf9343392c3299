// Goserver is a server with everything that the Go runtime likes to have in the
// kernel: threads, the netpoller's epoll, timers, futexes, preemption signals,
// garbage collection under way, and connections among its own goroutines.
package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	nonce := rand.Text()
	var gate gate
	var requests, echoes atomic.Int64
	var broken atomic.Pointer[string]
	complain := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		log.Print(text)
		broken.Store(&text)
	}
	startEchoes(&gate, &echoes, complain)
	startRing(&gate, complain)
	go collect(&gate)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)

	http.HandleFunc("/rest", func(w http.ResponseWriter, _ *http.Request) {
		gate.Lock()
		time.Sleep(100 * time.Millisecond) // for what is under way
		fmt.Fprintln(w, nonce, requests.Load())
	})
	http.HandleFunc("/work", func(w http.ResponseWriter, _ *http.Request) {
		if gate.TryRLock() {
			gate.RUnlock() // nobody rests
		} else {
			gate.Unlock()
		}
		fmt.Fprintln(w, nonce, requests.Load())
	})
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		n := requests.Add(1)
		at := echoes.Load()
		for deadline := time.Now().Add(5 * time.Second); echoes.Load() == at; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				complain("the connections inside stand still")
			}
			if broken.Load() != nil {
				break
			}
		}
		if text := broken.Load(); text != nil {
			http.Error(w, *text, http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, nonce, n)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", nil))
}

// startEchoes keeps four clients talking to a server over unix sockets.
func startEchoes(gate *gate, echoes *atomic.Int64, complain func(string, ...any)) {
	listener, err := net.Listen("unix", "@echo")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				complain("accept: %v", err)
				return
			}
			go func() {
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					fmt.Fprintln(conn, lines.Text())
				}
			}()
		}
	}()
	for i := range 4 {
		conn, err := net.Dial("unix", "@echo")
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			answers := bufio.NewReader(conn)
			for n := 0; ; n++ {
				said := fmt.Sprintf("client %d line %d", i, n)
				fmt.Fprintln(conn, said)
				answer, err := answers.ReadString('\n')
				if err != nil || answer != said+"\n" {
					complain("echo: said %q, heard %q: %v", said, answer, err)
					return
				}
				echoes.Add(1)
				gate.sleep(5 * time.Millisecond)
			}
		}()
	}
}

// startRing passes a number around a ring of a hundred goroutines, four of which
// have a thread of their own.
func startRing(gate *gate, complain func(string, ...any)) {
	const size = 100
	ring := make([]chan int, size)
	for i := range ring {
		ring[i] = make(chan int)
	}
	for i := range ring {
		go func() {
			if i%25 == 0 {
				runtime.LockOSThread()
			}
			last := i - size
			for n := range ring[i] {
				if n != last+size {
					complain("ring: %d came after %d", n, last)
				}
				last = n
				if i == 0 {
					gate.sleep(time.Millisecond)
				}
				ring[(i+1)%size] <- n + 1
			}
		}()
	}
	ring[0] <- 0
}

// collect makes garbage and keeps the last of it.
func collect(gate *gate) {
	kept := map[int][]byte{}
	for n := 0; ; n++ {
		kept[n%64] = make([]byte, 16<<10)
		gate.sleep(10 * time.Millisecond)
	}
}

// gate lets everybody pass, or holds everybody up for a rest.
type gate struct{ sync.RWMutex }

func (g *gate) sleep(d time.Duration) {
	time.Sleep(d)
	g.RLock()
	g.RUnlock()
}
