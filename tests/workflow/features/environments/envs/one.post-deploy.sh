#!/bin/bash
true # after the deployment of one
