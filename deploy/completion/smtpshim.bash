# Completion of smtpshim's commands, flags and names for bash. The program itself
# is asked, so that whatever it learns is known here.
# shellcheck shell=bash disable=SC2207 # names are words without blanks

# _smtpshim_names prints the first word of each line of a list that smtpshim prints.
_smtpshim_names() {
    "$@" 2>&1 | sed -n '/^Example/q; s/^  \([^ ]\{1,\}\).*/\1/p'
}

_smtpshim() {
    local program=$1 current=$2 before=$3 command=${COMP_WORDS[1]} names="" listen=()
    if ((COMP_CWORD == 1)); then
        names="$(_smtpshim_names "$program" help) help"
    elif [[ $before == -* ]] && "$program" "$command" -h 2>&1 | grep "^  $before [A-Z]" >/dev/null; then
        case $before in
            -config | -against) compopt -o default ;; # a file
            -rules | -against-rules) names=$(_smtpshim_names "$program" rules) ;;
        esac
    elif [[ $current == -* ]]; then
        names=$(_smtpshim_names "$program" "$command" -h)
    elif [[ $command == help ]]; then
        names=$(_smtpshim_names "$program" help)
    elif [[ $command == rules ]]; then
        names=$(_smtpshim_names "$program" rules)
    elif [[ $command == play ]]; then
        compopt -o default # files
    elif [[ $command == demo ]]; then
        [[ " ${COMP_WORDS[*]} " != *" -listen "* ]] || listen=(-listen 127.0.0.1:0)
        # Asked for what is not there, it says what is.
        names=$(_smtpshim_names "$program" demo "${listen[@]}" '?')
    fi
    COMPREPLY=($(compgen -W "$names" -- "$current"))
}

complete -F _smtpshim smtpshim
