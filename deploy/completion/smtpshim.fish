# Completion of smtpshim's commands, flags and names for fish. The program itself is
# asked, so that whatever it learns is known here.

# __smtpshim_names prints the name and the description of each entry of a list that
# smtpshim prints.
function __smtpshim_names
    $argv 2>&1 | awk '
        function flush() { if (name) print name "\t" text; name = "" }
        /^Example/ { exit }
        /^  [^ ]/  { flush(); name = $1; $1 = ""; text = substr($0, 2); next }
        /^    /    { $1 = $1; text = text (text ? " " : "") $0; next }
                   { flush() }
        END        { flush() }'
end

function __smtpshim_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -l command $words[2]
    set -l listen
    if test (count $words) -eq 1
        __smtpshim_names $program help
        printf 'help\tlist the commands\n'
    else if string match -q -- '-*' $words[-1]; and $program $command -h 2>&1 | grep "^  $words[-1] [A-Z]" >/dev/null
        switch $words[-1]
            case -config -against
                __fish_complete_path $current
            case -rules -against-rules
                __smtpshim_names $program rules
        end
    else if string match -q -- '-*' $current
        __smtpshim_names $program $command -h
    else if test "$command" = help
        __smtpshim_names $program help
    else if test "$command" = rules
        __smtpshim_names $program rules
    else if test "$command" = play
        __fish_complete_path $current
    else if test "$command" = demo
        contains -- -listen $words; and set listen -listen 127.0.0.1:0
        # Asked for what is not there, it says what is.
        __smtpshim_names $program demo $listen '?'
    end
end

complete -c smtpshim -f -a '(__smtpshim_complete)'
