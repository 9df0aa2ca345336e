# To be sourced: makes `docker` the one of the engine below $ENGINE_DIR, see ./engine.
export ENGINE_DIR=${ENGINE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/streamapp-ci/engine}
export PATH=$ENGINE_DIR/root/usr/sbin:$ENGINE_DIR/root/usr/bin:$PATH
export LD_LIBRARY_PATH=$ENGINE_DIR/root/usr/lib/x86_64-linux-gnu
export DOCKER_HOST=unix://$ENGINE_DIR/run/docker.sock DOCKER_CONFIG=$ENGINE_DIR/config
# Where iptables finds its modules, without which dockerd cannot set up its network.
export XTABLES_LIBDIR=$LD_LIBRARY_PATH/xtables
