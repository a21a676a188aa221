// An HTTP server that keeps its own record of when each request came and was answered.
//
// It answers every GET after a time drawn from a log-normal distribution, and writes one line per
// request to the file of -record when it is stopped (SIGTERM): when the request had come and when
// its answer had been handed over, in ns since the Unix epoch, and its traceparent or "-". It prints
// its port on the first line.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

type request struct {
	came, answered int64
	traceparent    string
}

func main() {
	record := flag.String("record", "", "file for the record")
	median := flag.Duration("median", 10*time.Millisecond, "median time to answer; 0 answers at once")
	sigma := flag.Float64("sigma", 0.5, "standard deviation of the logarithm of the time to answer")
	most := flag.Int("most", 2_000_000, "requests that can be recorded")
	flag.Parse()

	kept := make([]request, *most)
	var next atomic.Int64
	answer := []byte(`{"ok": true}`)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		came := time.Now()
		io.Copy(io.Discard, r.Body)
		if *median > 0 {
			factor := math.Exp(*sigma * rand.NormFloat64())
			time.Sleep(time.Until(came.Add(time.Duration(float64(*median) * factor))))
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(answer)
		if at := next.Add(1) - 1; at < int64(len(kept)) {
			kept[at] = request{came.UnixNano(), time.Now().UnixNano(), r.Header.Get("traceparent")}
		}
	})

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go http.Serve(listener, handler)

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	file, err := os.Create(*record)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	writer := bufio.NewWriter(file)
	for _, one := range kept[:min(next.Load(), int64(len(kept)))] {
		if one.traceparent == "" {
			one.traceparent = "-"
		}
		fmt.Fprintf(writer, "%d %d %s\n", one.came, one.answered, one.traceparent)
	}
	writer.Flush()
	file.Close()
}
