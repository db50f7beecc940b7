// Command load sends one body to a URL from 50 keep-alive clients and prints requests per second and percentiles.
package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"
)

func main() {
	url, seconds := os.Args[1], 5.0
	body, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	if parsed, err := strconv.ParseFloat(os.Args[3], 64); err == nil {
		seconds = parsed
	}
	const clients = 50
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // loopback, a certificate made for this run
		MaxIdleConnsPerHost: clients,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	client := &http.Client{Transport: transport}
	end := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	begin := time.Now()
	all := make([][]float64, clients)
	failed := 0
	var lock sync.Mutex
	var group sync.WaitGroup
	for i := 0; i < clients; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for time.Now().Before(end) {
				start := time.Now()
				answer, err := client.Post(url, "application/json", bytes.NewReader(body))
				if err == nil {
					_, err = io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
				}
				if err != nil || answer.StatusCode != http.StatusOK {
					lock.Lock()
					failed++
					lock.Unlock()
					continue
				}
				all[i] = append(all[i], time.Since(start).Seconds()*1000)
			}
		}()
	}
	group.Wait()
	took := time.Since(begin).Seconds()
	var times []float64
	for _, each := range all {
		times = append(times, each...)
	}
	sort.Float64s(times)
	at := func(share float64) float64 { return times[int(share*float64(len(times)-1))] }
	fmt.Printf("%.1f %.3f %.3f %d\n", float64(len(times))/took, at(0.5), at(0.99), failed)
}
