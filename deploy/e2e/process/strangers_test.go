// SPDX-License-Identifier: Apache-2.0

package process

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
)

// checkStrangers: who shows no certificate reaches enrollment, which is for strangers, and nothing else.
func checkStrangers(t *testing.T, f *fleet, config *tls.Config) {
	t.Helper()
	conn, err := grpc.NewClient(address(8082+f.offset), grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	distribution, nodes := distributionv1.NewDistributionServiceClient(conn), nodev1.NewNodeServiceClient(conn)
	for name, call := range map[string]func() error{
		"Follow": func() error {
			s, err := distribution.Follow(t.Context())
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
		"FetchBlobs": func() error {
			s, err := distribution.FetchBlobs(t.Context(), &distributionv1.FetchBlobsRequest{Hashes: [][]byte{make([]byte, 32)}})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
		"PublishRevocations": func() error {
			_, err := distribution.PublishRevocations(t.Context(), &distributionv1.PublishRevocationsRequest{})
			return err
		},
		"ReportDiscovery": func() error {
			_, err := nodes.ReportDiscovery(t.Context(), &nodev1.ReportDiscoveryRequest{})
			return err
		},
		"ReportExplanation": func() error {
			_, err := nodes.ReportExplanation(t.Context(), &nodev1.ReportExplanationRequest{})
			return err
		},
		"ReportStatus": func() error {
			_, err := nodes.ReportStatus(t.Context(), &nodev1.ReportStatusRequest{})
			return err
		},
		"LoginUser": func() error {
			_, err := directoryv1.NewDirectoryServiceClient(conn).LoginUser(t.Context(), &directoryv1.LoginUserRequest{})
			return err
		},
		"anything": func() error {
			return conn.Invoke(t.Context(), "/penstock.replica.v1.ReplicaService/None", &nodev1.ReportStatusRequest{}, &nodev1.ReportStatusResponse{})
		},
	} {
		if got := status.Code(call()); got != codes.Unauthenticated && (name != "anything" || got != codes.Unimplemented) {
			t.Errorf("%s without a certificate: %v, want Unauthenticated", name, got)
		}
	}
	_, err = nodev1.NewEnrollmentServiceClient(conn).Enroll(t.Context(), &nodev1.EnrollRequest{JoinToken: "x", Csr: []byte("x")})
	if s := status.Convert(err); s.Code() != codes.Unauthenticated || s.Message() != "This is no join token: copy it whole, as it was shown." {
		t.Errorf("Enroll: %v", err)
	}
}

// request makes a certificate signing request with a key in a file.
func request(t *testing.T, path string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(readFile(t, path)))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		t.Fatal("no key that signs")
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// certificates reads a PEM file.
func certificates(t *testing.T, path string) []*x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}
