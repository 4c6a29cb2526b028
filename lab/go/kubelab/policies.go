// The enforcer of NetworkPolicies: kube-router's controller, which k3s embeds in the same way, as a component of its own.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"github.com/spf13/cobra"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// newPolicyCommand is `kubelab network-policy`: it keeps the node's iptables as the cluster's NetworkPolicies say, until it is told to end.
func newPolicyCommand() *cobra.Command {
	var kubeconfig, services string
	config := options.NewKubeRouterConfig()
	command := &cobra.Command{
		Use:          "network-policy",
		SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			config.ClusterIPCIDRs = []string{services}
			return enforce(kubeconfig, config)
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&config.HostnameOverride, "hostname-override", "", "the node's name")
	command.Flags().StringVar(&services, "service-cluster-ip-range", "10.96.0.0/16", "addresses of Services")
	command.Flags().Uint16Var(&config.HealthPort, "health-port", 20244, "port of /healthz")
	return command
}

func enforce(kubeconfig string, config *options.KubeRouterConfig) error {
	config.RunFirewall = true
	config.EnableIPv4, config.EnableIPv6 = true, false
	config.MetricsEnabled = false
	rest, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return err
	}
	context, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	factory.Start(context.Done())
	for kind, synced := range factory.WaitForCacheSync(context.Done()) {
		if !synced {
			return fmt.Errorf("the cluster's %v could not be read", kind)
		}
	}

	tables, sets, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		return err
	}
	controller, err := netpol.NewNetworkPolicyController(client, config, pods, policies, namespaces, &sync.Mutex{}, tables, sets)
	if err != nil {
		return err
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		pods: controller.PodEventHandler, namespaces: controller.NamespaceEventHandler, policies: controller.NetworkPolicyEventHandler,
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}

	// It says that it lives when it begins to write the rules: from then on they are, or are about to be, as the policies say.
	var enforcing atomic.Bool
	beats := make(chan *healthcheck.ControllerHeartbeat, 10)
	go func() {
		for range beats {
			enforcing.Store(true)
		}
	}()
	http.HandleFunc("/healthz", func(answer http.ResponseWriter, _ *http.Request) {
		if !enforcing.Load() {
			answer.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", config.HealthPort))
	if err != nil {
		return err
	}
	go http.Serve(listener, nil)

	var running sync.WaitGroup
	running.Add(1)
	go controller.Run(beats, context.Done(), &running)
	running.Wait()
	return nil
}
