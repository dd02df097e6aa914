# What zsh completes: another zsh on a terminal, with the function that offers matches replaced by
# one that also writes them to a file.
# Arguments: zsh, the folder of the completions, the folder that zsh was unpacked in (or nothing), and what
# is typed.

[[ -z $3 ]] || module_path=($3/usr/lib/*/zsh/*(N/))
zmodload zsh/zpty || exit
seen=$(mktemp) && setup=$(mktemp) || exit
trap 'rm -f $seen $setup' EXIT

cat > $setup <<END
[[ -z '$3' ]] || {
    module_path=($module_path)
    fpath=($3/usr/share/zsh/functions/**/*(N/) $3/usr/share/zsh/functions)
}
fpath=($2 \$fpath)
autoload -Uz compinit && compinit -u -D
compadd() {
    local -a hits
    if [[ " \${@[1,(i)-]} " != *' -'[OAD]' '* ]]; then
        builtin compadd -A hits "\$@"
        print -rl -- \$hits >> $seen
    fi
    builtin compadd "\$@"
}
# zsh forgets these functions when it has called them.
finished() { comppostfuncs=(finished); print finished >> $seen }
comppostfuncs=(finished)
bindkey '^I' complete-word
bindkey '^U' kill-whole-line
print finished >> $seen
END

# Waits for the other zsh, ten seconds at most, taking what it shows.
await() {
    local tries shown
    for tries in {1..500}; do
        zpty -r -t other shown
        grep -qx finished $seen && return
        sleep 0.02
    done
    print -u 2 "zsh doesn't answer; it shows: $shown"
    exit 1
}

TERM=dumb zpty other "${(q)1} -f -i"
zpty -w other "source $setup"
await
for typed in "${@:4}"; do
    : > $seen
    zpty -w -n other $'\C-u'$typed$'\t'
    await
    matches=(${(f)"$(grep -vx finished $seen)"})
    print -r -- "$typed:" ${(uo)matches}
done
zpty -d other
