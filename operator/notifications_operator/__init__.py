"""Backstage's notification system for Kubernetes and GitOps."""
